;; A small network policy for tests: one network, and host ports from 20000 on that are never given twice. It
;; begins behind the ports that it is told of. Lines with an @ are where a test puts in what is to go wrong.
(module
  (memory (export "memory") 2)
  (global $free (mut i32) (i32.const 8192))
  (global $next (mut i32) (i32.const 20000))
  (data (i32.const 16) "small")

  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.set $free (i32.add (local.get $at) (local.get 3)))
    (local.get $at))
  (func $begin
    (global.set $free (i32.const 8192))
    (memory.fill (i32.const 1024) (i32.const 0) (i32.const 256)))

  (func (export "berth:policy/network@0.1.0#describe") (result i32)
    (call $begin)
    (i32.store (i32.const 1024) (i32.const 16)) (i32.store (i32.const 1028) (i32.const 5))
    (i32.const 1024))
  (func (export "berth:policy/network@0.1.0#configure") (param i32 i32) (result i32)
    (call $begin)
    (i32.const 1024))

  ;; The request comes flat: job, user, project, label (whether, text), ports, node.
  (func (export "berth:policy/network@0.1.0#attach")
    (param $now i64) (param $job i64) (param $user i32) (param i32) (param i32 i32) (param i32 i32 i32)
    (param $ports i32) (param $len i32) (param $node i32) (param i32)
    (result i32) (local $i i32)
    (call $begin)
    ;; @attach
    (i32.store (i32.const 1028) (i32.const 16)) (i32.store (i32.const 1032) (i32.const 5))
    (i32.store (i32.const 1040) (i32.const 4096)) (i32.store (i32.const 1044) (local.get $len))
    (block $done (loop $more
      (br_if $done (i32.ge_u (local.get $i) (local.get $len)))
      (i32.store16 (i32.add (i32.const 4096) (i32.shl (local.get $i) (i32.const 2)))
        (i32.load16_u (i32.add (local.get $ports) (i32.shl (local.get $i) (i32.const 1)))))
      (i32.store16 (i32.add (i32.const 4098) (i32.shl (local.get $i) (i32.const 2))) (global.get $next))
      (global.set $next (i32.add (global.get $next) (i32.const 1)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $more)))
    (i32.const 1024))
  (func (export "berth:policy/network@0.1.0#release") (param i64 i64) (call $begin))
  (func (export "berth:policy/network@0.1.0#attached")
    (param $job i64) (param i32 i32) (param i32 i32 i32 i32) (param $ports i32) (param $len i32) (local $host i32)
    (if (local.get $len) (then
      (local.set $host (i32.load16_u offset=2 (i32.add (local.get $ports)
        (i32.shl (i32.sub (local.get $len) (i32.const 1)) (i32.const 2)))))
      (if (i32.ge_u (local.get $host) (global.get $next)) (then
        (global.set $next (i32.add (local.get $host) (i32.const 1)))))))
    (call $begin)))
