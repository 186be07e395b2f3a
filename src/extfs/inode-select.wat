;; Which inodes of a table name blocks of metadata, for scripts/build-wasm.mjs. See inode-select.ts for the memory's layout.
(module
  (memory (export "memory") 65)

  ;; Walks whole inodes of $size bytes (128 at least) in [$at, $end) and writes the addresses of those that name such blocks to $out
  ;; (32 bits each). Returns the address behind the last. Offsets are those of struct ext2_inode (inodes.rst), and of struct
  ;; ext4_extent_header in its i_block (ifork.rst, "Extent Tree").
  (func (export "select") (param $at i32) (param $end i32) (param $size i32) (param $out i32) (result i32)
    (local $type i32) (local $flags i32)
    (block $done
      (loop $inodes
        (br_if $done (i32.gt_u (i32.add (local.get $at) (local.get $size)) (local.get $end)))
        (local.set $type (i32.and (i32.load16_u (local.get $at)) (i32.const 0xf000)))
        (block $next
          (block $take
            ;; S_IFDIR: its own blocks. Otherwise only regular files (S_IFREG) name any.
            (br_if $take (i32.eq (local.get $type) (i32.const 0x4000)))
            (br_if $next (i32.ne (local.get $type) (i32.const 0x8000)))
            ;; i_file_acl
            (br_if $take (i32.load offset=0x68 (local.get $at)))
            (local.set $flags (i32.load offset=0x20 (local.get $at)))
            ;; EXT4_INLINE_DATA_FL: i_block holds the content.
            (br_if $next (i32.and (local.get $flags) (i32.const 0x10000000)))
            (if (i32.and (local.get $flags) (i32.const 0x80000))
              (then
                ;; EXT4_EXTENTS_FL: eh_magic, and an eh_depth above 0.
                (br_if $next (i32.ne (i32.load16_u offset=0x28 (local.get $at)) (i32.const 0xf30a)))
                (br_if $take (i32.load16_u offset=0x2e (local.get $at)))
                (br $next)))
            ;; The indirect, double and triple indirect pointers, i_block[12..14].
            (br_if $next (i32.eqz (i32.or
              (i32.or (i32.load offset=0x58 (local.get $at)) (i32.load offset=0x5c (local.get $at)))
              (i32.load offset=0x60 (local.get $at))))))
          (i32.store (local.get $out) (local.get $at))
          (local.set $out (i32.add (local.get $out) (i32.const 4))))
        (local.set $at (i32.add (local.get $at) (local.get $size)))
        (br $inodes)))
    (local.get $out)))
