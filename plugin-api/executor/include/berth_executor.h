/*
 * Executors from a shared library: the C interface between Berth and an executor, version 1.
 *
 * A library exports the five symbols at the end of this page. It needs neither Rust nor the compiler that built
 * Berth. In Rust, `berth_executor_api::export_executor!` makes all of it from an implementation of the trait.
 *
 * Everything that is said is a call with an answer:
 *
 *   Berth   berth_executor_call(executor, 7, "launch", {"specs":[...],"launches":[...]}, no body)
 *   library complete(host, 7, BERTH_OK, ["Taken","Taken"], no body)
 *
 * Requests and answers are JSON in UTF-8 (RFC 8259); bytes of logs and sessions go beside it, as the body. Who
 * reads a message ignores members that it does not know, so that either side may be newer than the other.
 *
 * Rules
 *   - Berth reads berth_executor_abi_version before it touches anything else, and refuses a library whose number
 *     is not its own. The number changes when a struct, a signature or the meaning of a message here changes; new
 *     methods and new members do not change it.
 *   - berth_executor_call returns soon: what has to wait waits on a thread of the library's own. Berth makes all
 *     calls of one executor from one thread, one after the other, and does not wait for answers in between.
 *   - Each call is completed exactly once, from any thread, also from within berth_executor_call. A second
 *     completion, and one that comes after Berth has given the call up, is ignored.
 *   - Memory belongs to whoever passes it and is valid until the function that it was passed to returns.
 *   - A method that the library does not know is answered with BERTH_ERROR and the kind "unsupported".
 *   - Nothing is thrown and nothing unwinds across this border. What kills the process kills Berth with it; jobs
 *     and their states survive that, as they survive any crash of Berth.
 *   - A library is never unloaded while Berth runs.
 *
 * Times are RFC 3339 text ("2026-11-27T09:30:00.250Z"). Durations are {"secs":5,"nanos":0}. Memory is in bytes, CPUs in
 * thousandths (1500 is one and a half).
 *
 * Methods                request                                      answer
 *   capacity             {}                                           [NODE]
 *   launch               {"specs":[SPEC],"launches":[LAUNCH]}         one of these for each launch, in order:
 *                                                                       "Taken" | {"NoRoom":{"words":W}} |
 *                                                                       {"Refused":{"words":W}}
 *                        A LAUNCH names its SPEC by its place in "specs": tasks of an array share one. Its
 *                        "environment" has the variables that Berth gives to each job, which come after those of
 *                        the spec's "env" and as they are on this machine.
 *   reconcile            {"attempts":[NAME]}                          one for each, in order:
 *                                                                       {"Known":REPORT} | "Absent" |
 *                                                                       {"Uncertain":{"words":W}}
 *   attempts             {}                                           [NAME]
 *   control              {"attempt":NAME,"action":ACTION}             null
 *                        ACTION: "suspend" | "resume" | {"signal":10} | {"terminate":{"grace":DURATION}}
 *                                | {"time-limit":{"limit":DURATION}}, if it can: "new_time_limit"
 *   stats                {"attempt":NAME}                             USAGE
 *   remove               {"attempts":[NAME]}                          null
 *   cleanup              {"dry_run":true}                             ["what was or would be removed"]
 *
 * Streams. These answer {"stream":N}, a number of the library's choice, not used again:
 *   reports              {}                                           everything from now on
 *   logs                 {"attempt":NAME,"query":{"stream":"stdout","tail_bytes":null,"follow":false,"since":null}}
 *   exec                 {"attempt":NAME,"argv":["sh"],"terminal":false}   and "terminal":true if its size can change
 *   connect              {"attempt":NAME,"port":8080}
 *
 *   next                 {"stream":N}        {"reports":[...]}  of a stream of reports, one or more
 *                                            {}                 with bytes as the body, one or more
 *                                            {"end":true}       when nothing is to come any more
 *                        It is completed when there is something. One at a time for each stream.
 *   write                {"stream":N}        null, with the bytes as the call's body; completed when there is room
 *                                            for more
 *   shut                 {"stream":N}        null: the input's end
 *   exit                 {"stream":N}        {"code":3}, when the process of an `exec` is over
 *   resize               {"stream":N,"columns":80,"rows":24}          null
 *   close                {"stream":N}        null: nobody wants it any more. What waits on it is completed.
 *
 * Reports of a stream: {"Attempt":REPORT} | {"Capacity":[NODE]} | {"Away":W} | "Back".
 *
 * REPORT  {"attempt":NAME,"state":STATE,"at":TIME,"node":null,"addresses":[],"ports":[],"usage":null,"message":null}
 * STATE   "starting" | "running" | "suspended" | {"exited":EXIT} | "no-room" | "node-gone"
 * EXIT    {"code":0,"signal":null,"out_of_memory":false,"time_limit":false,"could_not_launch":null,
 *          "before_stop":true,"at":TIME}
 * NODE    {"name":"n1","total":{"cpu_millis":4000,"memory_bytes":17179869184,"gpus":0},"labels":{},"state":"up"}
 * USAGE   {"cpu_micros":0,"memory_bytes":0,"memory_peak_bytes":0,"read_bytes":0,"written_bytes":0,"disk_bytes":0}
 *
 * What each method promises is in the Rust trait `Executor`, and what LAUNCH and SPEC hold in `Launch` and
 * `LaunchSpec`; both in this crate's documentation. The conformance kit there judges libraries of any language.
 *
 * Errors: BERTH_ERROR with {"kind":K,"words":W}. K is
 *   "unreachable"      the back end did not answer: what was asked may or may not have been done; tried again
 *   "refused"          this will never be taken as it is
 *   "unusable"         nothing works before somebody changes the settings
 *   "unsupported"      not offered
 *   "unknown-attempt"  the back end knows no such attempt
 *
 * BERTH_BROKEN, with {"words":W}, says that the library itself failed in the call (in Rust: a panic). Whether it
 * was done is then not known.
 */
#ifndef BERTH_EXECUTOR_H
#define BERTH_EXECUTOR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BERTH_EXECUTOR_ABI_VERSION 1

/* Text or bytes of somebody else's. `data` may be null where `length` is 0. */
typedef struct berth_bytes {
    const uint8_t *data;
    size_t length;
} berth_bytes;

enum { BERTH_OK = 0, BERTH_ERROR = 1, BERTH_BROKEN = 2 };

/* Completes a call. Returns soon and may be called from any thread, also several at once. */
typedef void (*berth_complete)(void *host, uint64_t call, int32_t status, berth_bytes answer, berth_bytes body);

/* BERTH_EXECUTOR_ABI_VERSION. */
extern const uint32_t berth_executor_abi_version;

/*
 * Makes an executor of {"cluster":"berth","name":"theirs","state":"/var/lib/berth/executors/theirs","settings":{}}:
 * whose attempts these are, what berth.toml calls the executor, a folder of its own (which Berth has made), and what
 * stands in its `settings`. Call 0 is completed with what it is, or with why it cannot be used:
 *
 *   {"name":"spool","version":"1.0","promise":"exact","capabilities":{"logs":true},"notes":[]}
 *
 * `promise` is "exact" or "at-most-once". Capabilities are false where left out: suspend, suspend_restarts, signal,
 * logs, logs_since, outputs_merged, stats, exec, connect, time_limit, exclusive_cpus, images, ports, networks, volumes,
 * scratch, interactive, all_or_nothing, queues; gpu_vendors and extensions are lists of text. What is not offered is never called.
 *
 * The answer is passed to all further calls; null where there is nothing to pass.
 */
void *berth_executor_create(berth_bytes settings, void *host, berth_complete complete);

void berth_executor_call(void *executor, uint64_t call, berth_bytes method, berth_bytes request, berth_bytes body);

/* Ends it; what runs in the back end goes on. Nothing is completed once this has returned. */
void berth_executor_destroy(void *executor);

#ifdef __cplusplus
}
#endif

#endif
