;; A small scheduler policy, first come first served, for tests: each job needs a whole CPU, and starts go
;; to the first node of the room. Lines with an @ are where a test puts in what is to go wrong.
(module
  ;; @import
  (memory (export "memory") 64)
  ;; Arguments are written from here on, and forgotten when the call is over.
  (global $free (mut i32) (i32.const 0x200000))
  ;; The pending jobs' numbers stand from 0x100000 on.
  (global $pending (mut i32) (i32.const 0))
  (global $highest (mut i64) (i64.const 0))
  (global $plans (mut i32) (i32.const 0))
  (data (i32.const 16) "small")
  (data (i32.const 32) "@version")
  (data (i32.const 48) "as it comes")

  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.set $free (i32.add (local.get $at) (local.get 3)))
    (if (i32.gt_u (global.get $free) (i32.mul (memory.size) (i32.const 65536)))
      (then (if (i32.eq (memory.grow (i32.const 256)) (i32.const -1)) (then (unreachable)))))
    (local.get $at))
  (func $over (global.set $free (i32.const 0x200000)))

  (func (export "berth:policy/scheduler@0.1.0#describe") (result i32)
    ;; @describe
    (i32.store (i32.const 1024) (i32.const 16)) (i32.store (i32.const 1028) (i32.const 5))
    (i32.store (i32.const 1032) (i32.const 32)) (i32.store (i32.const 1036) (i32.const @version_len))
    (i32.store (i32.const 1040) (i32.const 48)) (i32.store (i32.const 1044) (i32.const 11))
    (i32.store (i32.const 1048) (i32.const 0)) (i32.store (i32.const 1052) (i32.const 0))
    (i32.const 1024))

  ;; Any setting is refused, in the words of its key.
  (func (export "berth:policy/scheduler@0.1.0#configure") (param $list i32) (param $len i32) (result i32)
    (call $over)
    (i32.store (i32.const 1024) (i32.ne (local.get $len) (i32.const 0)))
    (if (local.get $len) (then
      (i32.store (i32.const 1028) (i32.const 0))
      (i32.store (i32.const 1032) (i32.load (local.get $list)))
      (i32.store (i32.const 1036) (i32.load (i32.add (local.get $list) (i32.const 4))))))
    (i32.const 1024))

  (func (export "berth:policy/scheduler@0.1.0#names") (param i32 i32 i32) (call $over))
  (func (export "berth:policy/scheduler@0.1.0#nodes") (param i32 i32) (call $over))
  (func (export "berth:policy/scheduler@0.1.0#placements") (param i32 i32) (call $over))
  (func (export "berth:policy/scheduler@0.1.0#started") (param i32 i32) (call $over))
  (func (export "berth:policy/scheduler@0.1.0#ended") (param i32 i32) (call $over))

  (func $place (param i32) (result i32)
    (i32.add (i32.const 0x100000) (i32.shl (local.get 0) (i32.const 3))))

  (func $forget (param $job i64) (local $i i32)
    (loop $look
      (if (i32.ge_u (local.get $i) (global.get $pending)) (then (return)))
      (if (i64.eq (i64.load (call $place (local.get $i))) (local.get $job)) (then
        (memory.copy (call $place (local.get $i)) (call $place (i32.add (local.get $i) (i32.const 1)))
          (i32.shl (i32.sub (global.get $pending) (i32.add (local.get $i) (i32.const 1))) (i32.const 3)))
        (global.set $pending (i32.sub (global.get $pending) (i32.const 1)))
        (return)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $look)))

  ;; A job that is told again goes to the end. One with a higher number than any before cannot be known.
  (func (export "berth:policy/scheduler@0.1.0#pending")
    (param $list i32) (param $len i32) (param i32 i32) (local $job i64)
    ;; @pending
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $len)))
      (local.set $job (i64.load (local.get $list)))
      (if (i64.gt_u (local.get $job) (global.get $highest))
        (then (global.set $highest (local.get $job)))
        (else (call $forget (local.get $job))))
      (i64.store (call $place (global.get $pending)) (local.get $job))
      (global.set $pending (i32.add (global.get $pending) (i32.const 1)))
      (local.set $list (i32.add (local.get $list) (i32.const 88)))
      (local.set $len (i32.sub (local.get $len) (i32.const 1)))
      (br $next)))
    (call $over))

  (func (export "berth:policy/scheduler@0.1.0#withdrawn") (param $list i32) (param $len i32)
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $len)))
      (call $forget (i64.load (local.get $list)))
      (local.set $list (i32.add (local.get $list) (i32.const 8)))
      (local.set $len (i32.sub (local.get $len) (i32.const 1)))
      (br $next)))
    (call $over))

  ;; Starts as many as there are whole CPUs free on the first node; starts stand from 0x10000 on.
  (func (export "berth:policy/scheduler@0.1.0#plan")
    (param $now i64) (param $room i32) (param $nodes i32) (param $most i32) (result i32)
    (local $i i32) (local $cpus i32) (local $start i32)
    (global.set $plans (i32.add (global.get $plans) (i32.const 1)))
    ;; @plan
    (if (local.get $nodes) (then
      (local.set $cpus (i32.wrap_i64
        (i64.div_u (i64.load (i32.add (local.get $room) (i32.const 8))) (i64.const 1000))))))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $i) (global.get $pending)))
      (br_if $done (i32.ge_u (local.get $i) (local.get $cpus)))
      (br_if $done (i32.ge_u (local.get $i) (local.get $most)))
      (local.set $start (i32.add (i32.const 0x10000) (i32.mul (local.get $i) (i32.const 24))))
      (i64.store (local.get $start) (i64.load (call $place (local.get $i))))
      (i32.store offset=8 (local.get $start) (i32.const 1))
      (i32.store offset=12 (local.get $start) (i32.const 0))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    (call $over)
    (memory.fill (i32.const 1024) (i32.const 0) (i32.const 64))
    (i32.store (i32.const 1032) (i32.const 0x10000))
    (i32.store (i32.const 1036) (local.get $i))
    ;; @planned
    (i32.const 1024))

  (func (export "berth:policy/scheduler@0.1.0#explain") (param $now i64) (param $job i64) (result i32)
    ;; @explain
    (i32.store (i32.const 1024) (i32.const 1))
    (i32.store (i32.const 1028) (i32.const 48)) (i32.store (i32.const 1032) (i32.const 11))
    (i32.const 1024))

  (func (export "berth:policy/scheduler@0.1.0#len") (result i64)
    ;; @len
    (i64.extend_i32_u (global.get $pending))))
