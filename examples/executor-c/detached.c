/*
 * An executor in C: detached processes of this machine, known by files. It shows that Berth's interface needs no Rust;
 * the one in Rust beside it does the same with fewer lines and more care for users, and both pass Berth's conformance
 * kit.
 *
 *   cc -shared -fPIC -I ../../plugin-api/executor/include -o libdetached_c.so detached.c $(pkg-config --cflags --libs libcjson) -lpthread
 *
 * It runs jobs as the user that Berth runs as and refuses those of others: for a user's own Berth.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "berth_executor.h"

/* Outlives Berth and notes how the job ends. Only one for each attempt gets past `started`; it holds `lock` as long
 * as it lives. Arguments: folder, directory, standard output, standard error, command. */
static const char WATCH[] =
    "folder=$1; directory=$2; out=$3; err=$4; shift 4\n"
    "exec 9> \"$folder/lock\" || exit 1\n"
    "flock -n 9 || exit 0\n"
    "(set -C; : > \"$folder/started\") 2> /dev/null || exit 0\n"
    "cd \"$directory\" || exit 1\n"
    "setsid \"$@\" 9>&- < /dev/null > \"$out\" 2> \"$err\" &\n"
    "echo $! > \"$folder/pid.new\" && mv \"$folder/pid.new\" \"$folder/pid\"\n"
    "wait $!\n"
    "code=$?\n"
    "stopped=0; [ ! -e \"$folder/stop\" ] || stopped=1\n"
    "echo \"$code $stopped\" > \"$folder/exit.new\" && mv \"$folder/exit.new\" \"$folder/exit\"\n";

#define MOST 4096 /* attempts that are followed at once */

struct executor {
    void *host;
    berth_complete complete;
    char attempts[2048]; /* the folder of all attempts */
    int cpus;
    pthread_mutex_t mutex;
    pthread_t watcher;
    bool over;
    uint64_t stream; /* the reports; 0 when nobody wants them */
    uint64_t next;   /* the call that waits for them; 0 when none does */
    cJSON *news;     /* what was not told yet */
    struct {
        char name[256];
        bool running;
    } followed[MOST];
    int followed_count;
};

/* ---- answers */

static void answer(struct executor *e, uint64_t call, int32_t status, cJSON *json) {
    char *text = json ? cJSON_PrintUnformatted(json) : strdup("null");
    berth_bytes bytes = {(const uint8_t *)text, strlen(text)}, none = {NULL, 0};
    e->complete(e->host, call, status, bytes, none);
    free(text);
    cJSON_Delete(json);
}

static void fail(struct executor *e, uint64_t call, const char *kind, const char *words) {
    cJSON *error = cJSON_CreateObject();
    cJSON_AddStringToObject(error, "kind", kind);
    cJSON_AddStringToObject(error, "words", words);
    answer(e, call, BERTH_ERROR, error);
}

/* ---- files */

static void path(char *to, struct executor *e, const char *name, const char *file) {
    snprintf(to, 4096, "%s/%s/%s", e->attempts, name, file);
}

static bool has(struct executor *e, const char *name, const char *file) {
    char where[4096];
    path(where, e, name, file);
    return access(where, F_OK) == 0;
}

/* An attempt's name comes from Berth, and is a plain one; nothing else becomes part of a path. */
static bool plain(const char *name) {
    return name && *name && strlen(name) < 200 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == strlen(name);
}

static void now(char *to, time_t at) {
    struct tm utc;
    gmtime_r(&at, &utc);
    strftime(to, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

enum stands { ABSENT, BEGINNING, RUNNING, EXITED, GONE };

static enum stands stands(struct executor *e, const char *name, int *code, bool *stopped, time_t *at) {
    char where[4096];
    path(where, e, name, "lock");
    int lock = open(where, O_RDONLY | O_CLOEXEC);
    /* Looked at before `exit`, which is written while it is held. */
    bool watched = lock >= 0 && flock(lock, LOCK_SH | LOCK_NB) != 0;
    if (lock >= 0) close(lock);
    path(where, e, name, "exit");
    FILE *file = fopen(where, "re");
    if (file) {
        struct stat status;
        int was_stopped = 0, fields = fscanf(file, "%d %d", code, &was_stopped);
        bool known = fields == 2 && fstat(fileno(file), &status) == 0;
        fclose(file);
        *stopped = was_stopped;
        *at = known ? status.st_mtime : 0;
        return known ? EXITED : GONE;
    }
    if (!has(e, name, ".")) return ABSENT;
    if (watched) return has(e, name, "pid") ? RUNNING : BEGINNING;
    return has(e, name, "started") ? GONE : BEGINNING;
}

static void forget(struct executor *e, const char *name) {
    const char *files[] = {"lock", "started", "pid", "pid.new", "stop", "exit", "exit.new", NULL};
    char where[4096];
    for (int i = 0; files[i]; i++) {
        path(where, e, name, files[i]);
        unlink(where);
    }
    path(where, e, name, ".");
    where[strlen(where) - 2] = 0;
    rmdir(where);
}

/* ---- reports */

static cJSON *report(const char *name, cJSON *state, const char *at) {
    cJSON *report = cJSON_CreateObject();
    cJSON_AddStringToObject(report, "attempt", name);
    cJSON_AddItemToObject(report, "state", state);
    cJSON_AddStringToObject(report, "at", at);
    cJSON_AddItemToObject(report, "addresses", cJSON_CreateArray());
    cJSON_AddItemToObject(report, "ports", cJSON_CreateArray());
    return report;
}

static cJSON *exited(int code, bool stopped, const char *at) {
    cJSON *exit = cJSON_CreateObject(), *state = cJSON_CreateObject();
    cJSON_AddNumberToObject(exit, "code", code);
    cJSON_AddNullToObject(exit, "signal");
    cJSON_AddBoolToObject(exit, "out_of_memory", false);
    cJSON_AddBoolToObject(exit, "time_limit", false);
    cJSON_AddNullToObject(exit, "could_not_launch");
    cJSON_AddBoolToObject(exit, "before_stop", !stopped);
    cJSON_AddStringToObject(exit, "at", at);
    cJSON_AddItemToObject(state, "exited", exit);
    return state;
}

/* With the mutex held. */
static void flush(struct executor *e) {
    if (!e->next || cJSON_GetArraySize(e->news) == 0) return;
    cJSON *next = cJSON_CreateObject();
    cJSON_AddItemToObject(next, "reports", e->news);
    e->news = cJSON_CreateArray();
    uint64_t call = e->next;
    e->next = 0;
    answer(e, call, BERTH_OK, next);
}

/* With the mutex held. */
static void follow(struct executor *e, const char *name) {
    for (int i = 0; i < e->followed_count; i++)
        if (strcmp(e->followed[i].name, name) == 0) return;
    if (e->followed_count == MOST) return; /* Berth reconciles what is not told. */
    snprintf(e->followed[e->followed_count].name, sizeof e->followed[0].name, "%s", name);
    e->followed[e->followed_count++].running = false;
}

static void tell(struct executor *e, const char *name, cJSON *state, const char *at) {
    cJSON *told = cJSON_CreateObject();
    cJSON_AddItemToObject(told, "Attempt", report(name, state, at));
    cJSON_AddItemToArray(e->news, told);
}

static void *watch(void *of) {
    struct executor *e = of;
    for (;;) {
        pthread_mutex_lock(&e->mutex);
        if (e->over) break;
        for (int i = 0; i < e->followed_count; i++) {
            int code = 0;
            bool stopped = false;
            time_t ended = 0;
            char at[32];
            enum stands where = stands(e, e->followed[i].name, &code, &stopped, &ended);
            now(at, where == EXITED ? ended : time(NULL));
            if (where == RUNNING && !e->followed[i].running) {
                e->followed[i].running = true;
                tell(e, e->followed[i].name, cJSON_CreateString("running"), at);
            }
            if (where == EXITED) tell(e, e->followed[i].name, exited(code, stopped, at), at);
            if (where == EXITED || where == GONE || where == ABSENT) e->followed[i--] = e->followed[--e->followed_count];
        }
        flush(e);
        pthread_mutex_unlock(&e->mutex);
        usleep(50000);
    }
    pthread_mutex_unlock(&e->mutex);
    return NULL;
}

/* ---- launching */

static const char *text(const cJSON *of, const char *member) {
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(of, member));
}

static cJSON *refused(const char *format, ...) {
    char words[512];
    va_list rest;
    va_start(rest, format);
    vsnprintf(words, sizeof words, format, rest);
    va_end(rest);
    cJSON *inner = cJSON_CreateObject(), *outer = cJSON_CreateObject();
    cJSON_AddStringToObject(inner, "words", words);
    cJSON_AddItemToObject(outer, "Refused", inner);
    return outer;
}

static bool make_all(const char *directory) {
    char part[4096];
    if (directory[0] != '/' || strlen(directory) >= sizeof part) return false;
    snprintf(part, sizeof part, "%s", directory);
    for (char *slash = part + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        if (mkdir(part, 0755) != 0 && errno != EEXIST) return false;
        *slash = '/';
    }
    return mkdir(part, 0700) == 0 || errno == EEXIST;
}

/* The job's variables as execve takes them; to be freed with free_all. */
static char **variables(const cJSON *launch, const cJSON *spec) {
    const cJSON *sources[] = {cJSON_GetObjectItemCaseSensitive(spec, "env"),
                              cJSON_GetObjectItemCaseSensitive(launch, "environment")};
    int count = 0, room = cJSON_GetArraySize(sources[0]) + cJSON_GetArraySize(sources[1]) + 2;
    char **all = calloc(room, sizeof *all);
    for (int s = 0; s < 2; s++)
        for (const cJSON *v = sources[s] ? sources[s]->child : NULL; v; v = v->next) {
            char *line = NULL;
            if (asprintf(&line, "%s=%s", v->string, cJSON_GetStringValue(v)) < 0) continue;
            size_t name = strlen(v->string) + 1;
            int i = 0;
            while (i < count && strncmp(all[i], line, name) != 0) i++;
            /* Berth's come last, and stand in for a user's of the same name. */
            if (i < count) free(all[i]);
            else count++;
            all[i] = line;
        }
    bool has_path = false;
    for (int i = 0; i < count; i++) has_path |= strncmp(all[i], "PATH=", 5) == 0;
    if (!has_path) all[count] = strdup("PATH=/usr/local/bin:/usr/bin:/bin");
    return all;
}

static void free_all(char **all) {
    for (char **each = all; *each; each++) free(*each);
    free(all);
}

static void *reap(void *pid) {
    while (waitpid((pid_t)(intptr_t)pid, NULL, 0) < 0 && errno == EINTR) {}
    return NULL;
}

static cJSON *launch_one(struct executor *e, const cJSON *launch, const cJSON *specs) {
    const char *name = text(launch, "attempt"), *directory = text(launch, "directory");
    const char *array = text(launch, "array_directory"), *out = text(launch, "stdout"), *err = text(launch, "stderr");
    const cJSON *place = cJSON_GetObjectItemCaseSensitive(launch, "spec");
    const cJSON *spec = cJSON_IsNumber(place) ? cJSON_GetArrayItem(specs, place->valueint) : NULL;
    if (!plain(name) || !directory || !out || !err || !spec) return refused("the launch is not whole");
    const cJSON *identity = cJSON_GetObjectItemCaseSensitive(spec, "identity");
    const cJSON *uid = cJSON_GetObjectItemCaseSensitive(identity, "uid");
    if (!cJSON_IsNumber(uid) || uid->valuedouble != geteuid())
        return refused("jobs run as uid %u here, and as nobody else", geteuid());
    const cJSON *argv = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(spec, "command"), "argv");
    int count = cJSON_GetArraySize(argv);
    if (count == 0) return refused("this executor runs commands, and no scripts");
    if (has(e, name, "started")) {
        follow(e, name);
        return cJSON_CreateString("Taken");
    }
    if ((array && !make_all(array)) || !make_all(directory)) return refused("%s: %s", directory, strerror(errno));
    char folder[4096];
    path(folder, e, name, ".");
    folder[strlen(folder) - 2] = 0;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) return refused("%s: %s", folder, strerror(errno));

    const char *fixed[] = {"/bin/sh", "-c", WATCH, "watch", folder, directory, out, err};
    int first = sizeof fixed / sizeof *fixed;
    char **words = calloc(first + count + 1, sizeof *words);
    for (int i = 0; i < first; i++) words[i] = (char *)fixed[i];
    for (int i = 0; i < count; i++) words[first + i] = cJSON_GetStringValue(cJSON_GetArrayItem(argv, i));
    char **environment = variables(launch, spec);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    for (int i = 0; i < 3; i++) posix_spawn_file_actions_addopen(&files, i, "/dev/null", O_RDWR, 0);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    pid_t pid;
    int error = posix_spawn(&pid, "/bin/sh", &files, &attributes, words, environment);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    free_all(environment);
    free(words);
    if (error) {
        forget(e, name);
        return refused("/bin/sh: %s", strerror(error));
    }
    /* Only this child: others of the process are Berth's. */
    pthread_t reaper;
    if (pthread_create(&reaper, NULL, reap, (void *)(intptr_t)pid) == 0) pthread_detach(reaper);
    follow(e, name);
    return cJSON_CreateString("Taken");
}

/* ---- the methods; with the mutex held */

static cJSON *truth(struct executor *e, const char *name) {
    int code = 0;
    bool stopped = false, ours = false;
    time_t ended = 0;
    char at[32];
    for (int i = 0; i < e->followed_count; i++) ours |= strcmp(e->followed[i].name, name) == 0;
    enum stands where = stands(e, name, &code, &stopped, &ended);
    if (where == BEGINNING && !ours) {
        /* Whoever was to begin it may have died with Berth. Who makes this file first decides. */
        char started[4096];
        path(started, e, name, "started");
        int made = open(started, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (made >= 0) {
            close(made);
            forget(e, name);
            where = ABSENT;
        }
    }
    if (where == ABSENT) return cJSON_CreateString("Absent");
    cJSON *answer = cJSON_CreateObject();
    if (where == GONE) {
        cJSON *uncertain = cJSON_AddObjectToObject(answer, "Uncertain");
        cJSON_AddStringToObject(uncertain, "words", "nobody has seen how it ended");
        return answer;
    }
    now(at, where == EXITED ? ended : time(NULL));
    if (where != EXITED) follow(e, name);
    cJSON *state = where == EXITED ? exited(code, stopped, at)
                                   : cJSON_CreateString(where == RUNNING ? "running" : "starting");
    cJSON_AddItemToObject(answer, "Known", report(name, state, at));
    return answer;
}

static void send_signal(struct executor *e, const char *name, int signal) {
    char where[4096];
    int pid = 0;
    path(where, e, name, "pid");
    FILE *file = fopen(where, "re");
    if (!file) return;
    /* Just begun, it may not have its group yet. */
    if (fscanf(file, "%d", &pid) == 1 && pid > 1 && kill(-pid, signal) != 0) kill(pid, signal);
    fclose(file);
}

struct late {
    struct executor *e;
    char name[256];
    struct timespec after;
};

static void *kill_late(void *of) {
    struct late *late = of;
    int code;
    bool stopped;
    time_t at;
    nanosleep(&late->after, NULL);
    pthread_mutex_lock(&late->e->mutex);
    if (stands(late->e, late->name, &code, &stopped, &at) == RUNNING) send_signal(late->e, late->name, SIGKILL);
    pthread_mutex_unlock(&late->e->mutex);
    free(late);
    return NULL;
}

static void control(struct executor *e, uint64_t call, const cJSON *request) {
    const char *name = text(request, "attempt");
    const cJSON *action = cJSON_GetObjectItemCaseSensitive(request, "action");
    const cJSON *terminate = cJSON_GetObjectItemCaseSensitive(action, "terminate");
    const cJSON *grace = cJSON_GetObjectItemCaseSensitive(terminate, "grace");
    if (!plain(name) || !terminate) {
        fail(e, call, "unsupported", "do that");
        return;
    }
    int code;
    bool stopped;
    time_t at;
    if (stands(e, name, &code, &stopped, &at) == RUNNING) {
        char where[4096];
        path(where, e, name, "stop");
        int stop = open(where, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (stop >= 0) close(stop);
        struct late *late = calloc(1, sizeof *late);
        late->e = e;
        snprintf(late->name, sizeof late->name, "%s", name);
        late->after.tv_sec = (time_t)cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(grace, "secs"));
        late->after.tv_nsec = (long)cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(grace, "nanos"));
        if (late->after.tv_sec > 0 || late->after.tv_nsec > 0) send_signal(e, name, SIGTERM);
        pthread_t killer;
        if (pthread_create(&killer, NULL, kill_late, late) == 0) pthread_detach(killer);
        else free(late);
    }
    answer(e, call, BERTH_OK, NULL);
}

static cJSON *attempts(struct executor *e) {
    cJSON *all = cJSON_CreateArray();
    DIR *folder = opendir(e->attempts);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (plain(entry->d_name)) cJSON_AddItemToArray(all, cJSON_CreateString(entry->d_name));
    if (folder) closedir(folder);
    return all;
}

static cJSON *cleanup(struct executor *e, bool dry_run) {
    cJSON *told = cJSON_CreateArray(), *all = attempts(e);
    for (const cJSON *each = all->child; each; each = each->next) {
        char line[300];
        snprintf(line, sizeof line, "attempt %s", each->valuestring);
        cJSON_AddItemToArray(told, cJSON_CreateString(line));
        if (dry_run) continue;
        int code;
        bool stopped;
        time_t at;
        if (stands(e, each->valuestring, &code, &stopped, &at) == RUNNING) send_signal(e, each->valuestring, SIGKILL);
        forget(e, each->valuestring);
    }
    cJSON_Delete(all);
    return told;
}

static cJSON *capacity(struct executor *e) {
    cJSON *nodes = cJSON_CreateArray(), *node = cJSON_CreateObject(), *total;
    cJSON_AddStringToObject(node, "name", "here");
    total = cJSON_AddObjectToObject(node, "total");
    cJSON_AddNumberToObject(total, "cpu_millis", e->cpus * 1000.0);
    cJSON_AddNumberToObject(total, "memory_bytes", 0);
    cJSON_AddNumberToObject(total, "gpus", 0);
    cJSON_AddObjectToObject(node, "labels");
    cJSON_AddStringToObject(node, "state", "up");
    cJSON_AddItemToArray(nodes, node);
    return nodes;
}

static void close_reports(struct executor *e) {
    if (e->next) {
        cJSON *end = cJSON_CreateObject();
        cJSON_AddBoolToObject(end, "end", true);
        answer(e, e->next, BERTH_OK, end);
    }
    e->next = 0;
}

static void serve(struct executor *e, uint64_t call, const char *method, const cJSON *request) {
    const cJSON *names = cJSON_GetObjectItemCaseSensitive(request, "attempts");
    const cJSON *specs = cJSON_GetObjectItemCaseSensitive(request, "specs"), *each;
    cJSON *list = cJSON_CreateArray();
    if (strcmp(method, "launch") == 0) {
        cJSON_ArrayForEach(each, cJSON_GetObjectItemCaseSensitive(request, "launches"))
            cJSON_AddItemToArray(list, launch_one(e, each, specs));
        answer(e, call, BERTH_OK, list);
        return;
    }
    if (strcmp(method, "reconcile") == 0) {
        cJSON_ArrayForEach(each, names) {
            const char *name = cJSON_GetStringValue(each);
            cJSON_AddItemToArray(list, plain(name) ? truth(e, name) : cJSON_CreateString("Absent"));
        }
        answer(e, call, BERTH_OK, list);
        return;
    }
    cJSON_Delete(list);
    if (strcmp(method, "capacity") == 0) answer(e, call, BERTH_OK, capacity(e));
    else if (strcmp(method, "attempts") == 0) answer(e, call, BERTH_OK, attempts(e));
    else if (strcmp(method, "control") == 0) control(e, call, request);
    else if (strcmp(method, "remove") == 0) {
        cJSON_ArrayForEach(each, names) {
            const char *name = cJSON_GetStringValue(each);
            int code;
            bool stopped;
            time_t at;
            enum stands where = plain(name) ? stands(e, name, &code, &stopped, &at) : ABSENT;
            if (where == EXITED || where == GONE) forget(e, name);
        }
        answer(e, call, BERTH_OK, NULL);
    } else if (strcmp(method, "cleanup") == 0) {
        answer(e, call, BERTH_OK,
               cleanup(e, cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(request, "dry_run"))));
    } else if (strcmp(method, "reports") == 0) {
        close_reports(e);
        cJSON *opened = cJSON_CreateObject();
        cJSON_AddNumberToObject(opened, "stream", (double)++e->stream);
        answer(e, call, BERTH_OK, opened);
    } else if (strcmp(method, "next") == 0) {
        const cJSON *stream = cJSON_GetObjectItemCaseSensitive(request, "stream");
        if (!cJSON_IsNumber(stream) || stream->valuedouble != (double)e->stream || e->next) {
            fail(e, call, "refused", "there is no such stream, or somebody else waits for it");
            return;
        }
        e->next = call;
        flush(e);
    } else if (strcmp(method, "close") == 0) {
        close_reports(e);
        answer(e, call, BERTH_OK, NULL);
    } else fail(e, call, "unsupported", "do that");
}

/* ---- what Berth calls */

const uint32_t berth_executor_abi_version = BERTH_EXECUTOR_ABI_VERSION;

void *berth_executor_create(berth_bytes settings, void *host, berth_complete complete) {
    struct executor *e = calloc(1, sizeof *e);
    e->host = host;
    e->complete = complete;
    e->news = cJSON_CreateArray();
    pthread_mutex_init(&e->mutex, NULL);
    cJSON *all = cJSON_ParseWithLength((const char *)settings.data, settings.length);
    const cJSON *cpus = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(all, "settings"), "cpus");
    const char *state = text(all, "state");
    e->cpus = cJSON_IsNumber(cpus) ? cpus->valueint : 1;
    snprintf(e->attempts, sizeof e->attempts, "%s/attempts", state ? state : "");
    bool usable = state && e->cpus > 0 && make_all(e->attempts);
    cJSON_Delete(all);
    if (!usable || pthread_create(&e->watcher, NULL, watch, e) != 0) {
        fail(e, 0, "unusable", "its folder cannot be used, or `cpus` is no number above 0");
        return NULL;
    }
    cJSON *description = cJSON_CreateObject();
    cJSON_AddStringToObject(description, "name", "detached-c");
    cJSON_AddStringToObject(description, "version", "0.1.0");
    cJSON_AddStringToObject(description, "promise", "exact");
    cJSON_AddObjectToObject(description, "capabilities");
    cJSON_AddArrayToObject(description, "notes");
    answer(e, 0, BERTH_OK, description);
    return e;
}

void berth_executor_call(void *executor, uint64_t call, berth_bytes method, berth_bytes request, berth_bytes body) {
    struct executor *e = executor;
    (void)body;
    char name[32] = "";
    if (method.length < sizeof name) memcpy(name, method.data, method.length);
    cJSON *json = cJSON_ParseWithLength((const char *)request.data, request.length);
    pthread_mutex_lock(&e->mutex);
    serve(e, call, name, json);
    pthread_mutex_unlock(&e->mutex);
    cJSON_Delete(json);
}

void berth_executor_destroy(void *executor) {
    struct executor *e = executor;
    if (!e) return;
    pthread_mutex_lock(&e->mutex);
    e->over = true;
    pthread_mutex_unlock(&e->mutex);
    pthread_join(e->watcher, NULL);
    /* What still waits to kill a job needs it: a few bytes stay. */
}
