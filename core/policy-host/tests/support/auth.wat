;; A small auth policy for tests: a Unix user with number N is "u", everybody may do everything they ask for
;; but mount volumes. Lines with an @ are where a test puts in what is to go wrong.
(module
  ;; @import
  (memory (export "memory") 2)
  (global $free (mut i32) (i32.const 8192))
  (global $calls (mut i32) (i32.const 0))
  (data (i32.const 16) "small")
  (data (i32.const 32) "u")
  (data (i32.const 48) "/etc")
  (data (i32.const 64) "not now")

  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.set $free (i32.add (local.get $at) (local.get 3)))
    (local.get $at))
  (func $begin
    (global.set $free (i32.const 8192))
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (memory.fill (i32.const 1024) (i32.const 0) (i32.const 256)))
  ;; The text with this address and length at a place.
  (func $text (param $place i32) (param $at i32) (param $len i32)
    (i32.store (local.get $place) (local.get $at))
    (i32.store offset=4 (local.get $place) (local.get $len)))

  (func (export "berth:policy/auth@0.1.0#describe") (result i32)
    (call $begin)
    (call $text (i32.const 1024) (i32.const 16) (i32.const 5))
    (call $text (i32.const 1032) (i32.const 16) (i32.const 1))
    (i32.const 1024))
  (func (export "berth:policy/auth@0.1.0#configure") (param i32 i32) (result i32)
    (call $begin)
    (i32.const 1024))

  ;; Credentials come flat: which, then the number or the text's address, then its length, then a handle.
  (func (export "berth:policy/auth@0.1.0#identify")
    (param $now i64) (param $which i32) (param $first i32) (param $second i32) (param $third i64)
    (result i32)
    (call $begin)
    ;; @identify
    (call $text (i32.const 1028) (i32.const 32) (i32.const 1))
    (i32.store (i32.const 1036) (local.get $first))
    (i32.store (i32.const 1040) (i32.const 100))
    ;; @identified
    (i32.const 1024))

  (func (export "berth:policy/auth@0.1.0#authorise") (param i32) (result i32)
    (local $job i32)
    (call $begin)
    ;; @authorise
    (i32.const 1024)))
