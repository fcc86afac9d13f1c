/* Libraries that keep the contract badly. -DFAULT=... chooses how. */
#include <string.h>
#include <unistd.h>

#include "berth_executor.h"

#define WRONG_VERSION 1
#define NO_VERSION 2
#define NO_CALL 3
#define BLOCKS_IN_CALL 4
#define BLOCKS_AT_START 5
#define TWICE 6
#define NONSENSE 7
#define WRONG_STATUS 8
#define HUGE 9
#define SILENT 10

static void *host_of;
static berth_complete complete_of;

static berth_bytes text(const char *words) {
    berth_bytes bytes = {(const uint8_t *)words, strlen(words)};
    return bytes;
}

static void answer(uint64_t call, int32_t status, const char *words) {
    complete_of(host_of, call, status, text(words), text(""));
}

#if FAULT == WRONG_VERSION
const uint32_t berth_executor_abi_version = BERTH_EXECUTOR_ABI_VERSION + 6;
#elif FAULT != NO_VERSION
const uint32_t berth_executor_abi_version = BERTH_EXECUTOR_ABI_VERSION;
#endif

void *berth_executor_create(berth_bytes settings, void *host, berth_complete complete) {
    (void)settings;
    host_of = host;
    complete_of = complete;
#if FAULT == BLOCKS_AT_START
    for (;;) sleep(1000);
#endif
    answer(0, BERTH_OK,
           "{\"name\":\"broken\",\"version\":\"1\",\"promise\":\"exact\",\"capabilities\":{},\"notes\":[]}");
    return &host_of;
}

#if FAULT != NO_CALL
void berth_executor_call(void *executor, uint64_t call, berth_bytes method, berth_bytes request, berth_bytes body) {
    (void)executor; (void)call; (void)method; (void)request; (void)body;
#if FAULT == BLOCKS_IN_CALL
    for (;;) sleep(1000);
#elif FAULT == TWICE
    answer(call, BERTH_OK, "[]");
    answer(call, BERTH_OK, "[\"again\"]");
    answer(call + 1000, BERTH_OK, "[\"never asked for\"]");
#elif FAULT == NONSENSE
    answer(call, BERTH_OK, "{\"half\": ");
#elif FAULT == WRONG_STATUS
    answer(call, 77, "[]");
#elif FAULT == HUGE
    static const uint8_t byte = '[';
    berth_bytes huge = {&byte, (size_t)1 << 40};
    complete_of(host_of, call, BERTH_OK, huge, text(""));
#endif
}
#endif

void berth_executor_destroy(void *executor) { (void)executor; }
