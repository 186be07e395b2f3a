;; The XOR loops of AES-XTS and AES-CBC, for scripts/build-wasm.mjs. See xor.ts for the memory's layout.
(module
  (memory (export "memory") 195)

  ;; XORs the tweaks of `sectors` sectors into data[$d0 ..], and leaves them at $e0, one for each block. On entry $tweaks holds one
  ;; encrypted tweak of 16 bytes a sector. Within a sector each following block's tweak is the one before times x in GF(2^128),
  ;; polynomial x^128+x^7+x^2+x+1, little-endian (IEEE Std 1619-2018, 5.2): t = (t << 1 in each half) ^ (carry of the upper half ?
  ;; 0x87 : 0, carry of the lower half ? 1 : 0). Each waits for the one before, so four sectors go side by side.
  (func (export "xorTweaks") (param $d0 i32) (param $e0 i32) (param $tweaks i32) (param $sectors i32) (param $sectorBytes i32)
    (local $t0 v128) (local $t1 v128) (local $t2 v128) (local $t3 v128)
    (local $d1 i32) (local $d2 i32) (local $d3 i32) (local $e1 i32) (local $e2 i32) (local $e3 i32) (local $end i32)
    (block $fewer
      (loop $four
        (br_if $fewer (i32.lt_u (local.get $sectors) (i32.const 4)))
        (local.set $sectors (i32.sub (local.get $sectors) (i32.const 4)))
        (local.set $end (i32.add (local.get $d0) (local.get $sectorBytes)))
        (local.set $d1 (local.get $end))
        (local.set $d2 (i32.add (local.get $d1) (local.get $sectorBytes)))
        (local.set $d3 (i32.add (local.get $d2) (local.get $sectorBytes)))
        (local.set $e1 (i32.add (local.get $e0) (local.get $sectorBytes)))
        (local.set $e2 (i32.add (local.get $e1) (local.get $sectorBytes)))
        (local.set $e3 (i32.add (local.get $e2) (local.get $sectorBytes)))
        (local.set $t0 (v128.load (local.get $tweaks)))
        (local.set $t1 (v128.load offset=16 (local.get $tweaks)))
        (local.set $t2 (v128.load offset=32 (local.get $tweaks)))
        (local.set $t3 (v128.load offset=48 (local.get $tweaks)))
        (local.set $tweaks (i32.add (local.get $tweaks) (i32.const 64)))
        (loop $blocks
            (v128.store (local.get $e0) (local.get $t0))
            (v128.store (local.get $d0) (v128.xor (v128.load (local.get $d0)) (local.get $t0)))
            (local.set $t0
              (v128.xor
                (i64x2.shl (local.get $t0) (i32.const 1))
                (v128.and
                  (i8x16.shuffle 12 13 14 15 12 13 14 15 4 5 6 7 4 5 6 7
                    (i32x4.shr_s (local.get $t0) (i32.const 31))
                    (i32x4.shr_s (local.get $t0) (i32.const 31)))
                  (v128.const i64x2 0x87 0x01))))
            (local.set $d0 (i32.add (local.get $d0) (i32.const 16)))
            (local.set $e0 (i32.add (local.get $e0) (i32.const 16)))
            (v128.store (local.get $e1) (local.get $t1))
            (v128.store (local.get $d1) (v128.xor (v128.load (local.get $d1)) (local.get $t1)))
            (local.set $t1
              (v128.xor
                (i64x2.shl (local.get $t1) (i32.const 1))
                (v128.and
                  (i8x16.shuffle 12 13 14 15 12 13 14 15 4 5 6 7 4 5 6 7
                    (i32x4.shr_s (local.get $t1) (i32.const 31))
                    (i32x4.shr_s (local.get $t1) (i32.const 31)))
                  (v128.const i64x2 0x87 0x01))))
            (local.set $d1 (i32.add (local.get $d1) (i32.const 16)))
            (local.set $e1 (i32.add (local.get $e1) (i32.const 16)))
            (v128.store (local.get $e2) (local.get $t2))
            (v128.store (local.get $d2) (v128.xor (v128.load (local.get $d2)) (local.get $t2)))
            (local.set $t2
              (v128.xor
                (i64x2.shl (local.get $t2) (i32.const 1))
                (v128.and
                  (i8x16.shuffle 12 13 14 15 12 13 14 15 4 5 6 7 4 5 6 7
                    (i32x4.shr_s (local.get $t2) (i32.const 31))
                    (i32x4.shr_s (local.get $t2) (i32.const 31)))
                  (v128.const i64x2 0x87 0x01))))
            (local.set $d2 (i32.add (local.get $d2) (i32.const 16)))
            (local.set $e2 (i32.add (local.get $e2) (i32.const 16)))
            (v128.store (local.get $e3) (local.get $t3))
            (v128.store (local.get $d3) (v128.xor (v128.load (local.get $d3)) (local.get $t3)))
            (local.set $t3
              (v128.xor
                (i64x2.shl (local.get $t3) (i32.const 1))
                (v128.and
                  (i8x16.shuffle 12 13 14 15 12 13 14 15 4 5 6 7 4 5 6 7
                    (i32x4.shr_s (local.get $t3) (i32.const 31))
                    (i32x4.shr_s (local.get $t3) (i32.const 31)))
                  (v128.const i64x2 0x87 0x01))))
            (local.set $d3 (i32.add (local.get $d3) (i32.const 16)))
            (local.set $e3 (i32.add (local.get $e3) (i32.const 16)))
            (br_if $blocks (i32.lt_u (local.get $d0) (local.get $end))))
        (local.set $d0 (local.get $d3))
        (local.set $e0 (local.get $e3))
        (br $four)))
    (block $done
      (loop $one
        (br_if $done (i32.eqz (local.get $sectors)))
        (local.set $sectors (i32.sub (local.get $sectors) (i32.const 1)))
        (local.set $end (i32.add (local.get $d0) (local.get $sectorBytes)))
        (local.set $t0 (v128.load (local.get $tweaks)))
        (local.set $tweaks (i32.add (local.get $tweaks) (i32.const 16)))
        (loop $block
            (v128.store (local.get $e0) (local.get $t0))
            (v128.store (local.get $d0) (v128.xor (v128.load (local.get $d0)) (local.get $t0)))
            (local.set $t0
              (v128.xor
                (i64x2.shl (local.get $t0) (i32.const 1))
                (v128.and
                  (i8x16.shuffle 12 13 14 15 12 13 14 15 4 5 6 7 4 5 6 7
                    (i32x4.shr_s (local.get $t0) (i32.const 31))
                    (i32x4.shr_s (local.get $t0) (i32.const 31)))
                  (v128.const i64x2 0x87 0x01))))
            (local.set $d0 (i32.add (local.get $d0) (i32.const 16)))
            (local.set $e0 (i32.add (local.get $e0) (i32.const 16)))
            (br_if $block (i32.lt_u (local.get $d0) (local.get $end))))
        (br $one))))

  ;; to[0 .. bytes) ^= from[0 .. bytes); bytes is a multiple of 16, not 0.
  (func (export "xor") (param $to i32) (param $from i32) (param $bytes i32)
    (local $stop i32)
    (local.set $stop (i32.add (local.get $to) (i32.and (local.get $bytes) (i32.const -64))))
    (block $rest
      (loop $four
        (br_if $rest (i32.ge_u (local.get $to) (local.get $stop)))
        (v128.store offset=0 (local.get $to) (v128.xor (v128.load offset=0 (local.get $to)) (v128.load offset=0 (local.get $from))))
        (v128.store offset=16 (local.get $to) (v128.xor (v128.load offset=16 (local.get $to)) (v128.load offset=16 (local.get $from))))
        (v128.store offset=32 (local.get $to) (v128.xor (v128.load offset=32 (local.get $to)) (v128.load offset=32 (local.get $from))))
        (v128.store offset=48 (local.get $to) (v128.xor (v128.load offset=48 (local.get $to)) (v128.load offset=48 (local.get $from))))
        (local.set $to (i32.add (local.get $to) (i32.const 64)))
        (local.set $from (i32.add (local.get $from) (i32.const 64)))
        (br $four)))
    (local.set $stop (i32.add (local.get $to) (i32.and (local.get $bytes) (i32.const 63))))
    (block $done
      (loop $block
        (br_if $done (i32.ge_u (local.get $to) (local.get $stop)))
        (v128.store (local.get $to) (v128.xor (v128.load (local.get $to)) (v128.load (local.get $from))))
        (local.set $to (i32.add (local.get $to) (i32.const 16)))
        (local.set $from (i32.add (local.get $from) (i32.const 16)))
        (br $block))))

  ;; IVs of `plain64` (dm-crypt): the numbers high:low, high:low + $step, ... as 64 bits, little-endian, 16 bytes each, into [$to .. $end).
  (func (export "numbers") (param $to i32) (param $end i32) (param $low i32) (param $high i32) (param $step i32)
    (local $n i64) (local $by i64)
    (local.set $n
      (i64.or
        (i64.shl (i64.extend_i32_u (local.get $high)) (i64.const 32))
        (i64.extend_i32_u (local.get $low))))
    (local.set $by (i64.extend_i32_u (local.get $step)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $to) (local.get $end)))
        (v128.store (local.get $to) (i64x2.replace_lane 0 (v128.const i64x2 0 0) (local.get $n)))
        (local.set $n (i64.add (local.get $n) (local.get $by)))
        (local.set $to (i32.add (local.get $to) (i32.const 16)))
        (br $next))))
)
