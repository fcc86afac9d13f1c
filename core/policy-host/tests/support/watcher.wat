;; A small watcher for tests: stops the first job of each list, and lets no job start as long as another one is
;; started. Lines with an @ are where a test puts in what
;; is to go wrong.
(module
  (memory (export "memory") 64)
  (global $free (mut i32) (i32.const 0x10000))
  (global $started (mut i32) (i32.const 0))
  (data (i32.const 16) "small")

  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.set $free (i32.add (local.get $at) (local.get 3)))
    (local.get $at))
  (func $begin
    (global.set $free (i32.const 0x10000))
    (memory.fill (i32.const 1024) (i32.const 0) (i32.const 256)))

  (func (export "berth:policy/watcher@0.1.0#describe") (result i32)
    (call $begin)
    (i32.store (i32.const 1024) (i32.const 16)) (i32.store (i32.const 1028) (i32.const 5))
    (i32.const 1024))
  (func (export "berth:policy/watcher@0.1.0#configure") (param i32 i32) (result i32)
    (call $begin)
    (i32.const 1024))
  (func (export "berth:policy/watcher@0.1.0#judge") (param $now i64) (param $jobs i32) (param $len i32)
    (result i32)
    (call $begin)
    ;; @judge
    ;; One judgement, at 2048: the job, then which verdict, then its words.
    (i32.store (i32.const 1028) (i32.const 2048))
    (i32.store (i32.const 1032) (i32.const 1))
    (i64.store (i32.const 2048) (i64.load (local.get $jobs)))
    (i32.store (i32.const 2056) (i32.const 3))
    (i32.store (i32.const 2060) (i32.const 16))
    (i32.store (i32.const 2064) (i32.const 5))
    ;; @judged
    (i32.const 1024))

  (func (export "berth:policy/watcher@0.1.0#wants") (result i32)
    ;; @wants
    (i32.const 0))
  ;; A job comes flat: number, user, project, needs, time limit (whether, how long), node.
  (func (export "berth:policy/watcher@0.1.0#may-start")
    (param i64 i64) (param i32 i32) (param i32 i32) (param i64 i64 i32) (param i32 i64) (param i32 i32)
    (result i32)
    (call $begin)
    ;; @may-start
    (if (global.get $started) (then
      (i32.store8 (i32.const 1024) (i32.const 1)) (i32.store8 (i32.const 1028) (i32.const 1))
      (i32.store (i32.const 1032) (i32.const 16)) (i32.store (i32.const 1036) (i32.const 5))))
    (i32.const 1024))
  (func (export "berth:policy/watcher@0.1.0#started")
    (param i64 i64) (param i32 i32) (param i32 i32) (param i64 i64 i32) (param i32 i64) (param i32 i32)
    (call $begin)
    (global.set $started (i32.add (global.get $started) (i32.const 1))))
  (func (export "berth:policy/watcher@0.1.0#ended") (param i64 i64)
    (call $begin)
    (global.set $started (i32.sub (global.get $started) (i32.const 1)))))
