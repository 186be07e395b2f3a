;; The XOR loops of AES-XTS and AES-CBC, for scripts/build-xts.mjs. See xor.ts for the memory's layout.
(module
  (memory (export "memory") 5)

  ;; XORs the tweaks of `sectors` sectors into data[$data ..]. On entry $tweaks holds one encrypted tweak of 16 bytes a sector.
  ;; Within a sector each following block's tweak is the one before times x in GF(2^128), polynomial x^128+x^7+x^2+x+1,
  ;; little-endian (IEEE Std 1619-2018, 5.2).
  (func (export "xorTweaks") (param $data i32) (param $tweaks i32) (param $sectors i32) (param $sectorBytes i32)
    (local $t v128) (local $end i32) (local $stop i32)
    (local.set $stop (i32.add (local.get $data) (i32.mul (local.get $sectors) (local.get $sectorBytes))))
    (block $done
      (loop $sector
        (br_if $done (i32.ge_u (local.get $data) (local.get $stop)))
        (local.set $t (v128.load (local.get $tweaks)))
        (local.set $tweaks (i32.add (local.get $tweaks) (i32.const 16)))
        (local.set $end (i32.add (local.get $data) (local.get $sectorBytes)))
        (loop $block
          (v128.store (local.get $data) (v128.xor (v128.load (local.get $data)) (local.get $t)))
          ;; t = (t << 1 in each half) ^ (carry of the upper half ? 0x87 : 0, carry of the lower half ? 1 : 0)
          (local.set $t
            (v128.xor
              (i64x2.shl (local.get $t) (i32.const 1))
              (v128.and
                (i8x16.shuffle 12 13 14 15 12 13 14 15 4 5 6 7 4 5 6 7
                  (i32x4.shr_s (local.get $t) (i32.const 31))
                  (i32x4.shr_s (local.get $t) (i32.const 31)))
                (v128.const i64x2 0x87 0x01))))
          (local.set $data (i32.add (local.get $data) (i32.const 16)))
          (br_if $block (i32.lt_u (local.get $data) (local.get $end))))
        (br $sector))))

  ;; to[0 .. bytes) ^= from[0 .. bytes); bytes is a multiple of 16, not 0.
  (func (export "xor") (param $to i32) (param $from i32) (param $bytes i32)
    (local $stop i32)
    (local.set $stop (i32.add (local.get $to) (local.get $bytes)))
    (loop $block
      (v128.store (local.get $to) (v128.xor (v128.load (local.get $to)) (v128.load (local.get $from))))
      (local.set $to (i32.add (local.get $to) (i32.const 16)))
      (local.set $from (i32.add (local.get $from) (i32.const 16)))
      (br_if $block (i32.lt_u (local.get $to) (local.get $stop)))))
)
