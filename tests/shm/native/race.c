/* One writer and two readers as threads over one ring on the heap, for ThreadSanitizer: the real claim, publish, gate, join,
 * take, validate, arm, sleep and wake.
 *
 *   race gated N    the writer waits for its readers, one of which comes and goes: no byte is ever used by two at once, so
 *                   copies are plain, and what carries them from thread to thread must be seen to do so
 *   race lapped N   the writer waits for nobody: readers copy what is being overwritten and throw it away, which in C is
 *                   defined for atomics only, so here copies go word by word; all else must still be free of races
 *
 * N items are published. It prints what its readers counted, and ends with 1 if they took a wrong item.
 * One mapping, not two: a run of two never wraps because the ring has an even number of slots.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "_native.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "plants.h"
#include "without_python.h"

static int word_by_word;

/* What memcpy is to the ring in this program. */
static void *copy(void *to, const void *from, size_t bytes)
{
    if (!word_by_word)
        return memcpy(to, from, bytes);
    word *target = to;
    const word *source = from;
    for (size_t i = 0; i < bytes / 8; i++)
        atomic_store_explicit(target + i, atomic_load_explicit(source + i, memory_order_relaxed), memory_order_relaxed);
    return to;
}
#define memcpy(to, from, bytes) copy((to), (from), (bytes))
#include "_mapping.h"
#include "_ring.h"
#include "_writer.h"
#include "_reader.h"
#undef memcpy

enum { SLOTS = 8, RUN = 2, WORDS = 64, READERS = 2, TURN = 64 };
enum { STATE = 0, DEMOTIONS = 8, POSITION = 64, SKIPPED = 72, LAPPED = 80, TORN = 88, TAKEN = 96, ENTRY = 128 };

static struct {
    _Alignas(64) word claimed, published, flags;
    _Alignas(64) word table_version;
    _Alignas(64) word armed, wanted;
    half wakes, rooms;
    _Alignas(64) char entries[READERS][ENTRY];
    _Alignas(64) uint64_t data[SLOTS][WORDS];
    instant times[SLOTS];
} *memory;

static Mapping table = {.writable = 1};
static uint64_t items;

static void lay_out(Ring *r)
{
    *r = (Ring){
        .table = &table, .claimed = &memory->claimed, .published = &memory->published, .flags = &memory->flags,
        .table_version = &memory->table_version, .armed = &memory->armed, .wanted = &memory->wanted,
        .wakes = &memory->wakes, .rooms = &memory->rooms, .entries = memory->entries[0], .entry_bytes = ENTRY,
        .capacity = READERS, .entry_state = STATE, .entry_demotions = DEMOTIONS, .entry_position = POSITION,
        .entry_skipped = SKIPPED, .entry_lapped = LAPPED, .entry_torn = TORN, .entry_taken = TAKEN,
        .data = (char *)memory->data, .times = memory->times, .slots = SLOTS, .item_bytes = 8 * WORDS,
        .stride = 8 * WORDS, .times_slots = SLOTS, .ready = 1};
}

static uint64_t content(uint64_t sequence, uint64_t index)
{
    return sequence * 0x9e3779b97f4a7c15u + index;
}

/* Wait for whom we may lap, or leave them behind; as RingWriter._make_room, where nobody dies. */
static void make_room(void *writer, uint64_t upto)
{
    Writer *w = writer;
    Ring *r = &w->ring;
    while (!writer_scan(w, upto)) {
        if (!word_by_word) {
            int64_t now = monotonic_ns();
            wait_room(w, upto, now + 10000000, now + 20000);
            continue;
        }
        for (uint64_t i = 0; i < READERS; i++) {
            uint64_t state = LOAD_ACQUIRE(entry_word(r, i, STATE));
            if (KIND(state) == LOSSLESS && upto > LOAD_ACQUIRE(entry_word(r, i, POSITION)) + SLOTS)
                if (atomic_compare_exchange_strong(entry_word(r, i, STATE), &state, (state & ~(uint64_t)0xff) | DEMOTED))
                    atomic_fetch_add(entry_word(r, i, DEMOTIONS), 1);
        }
    }
}

static void *write_all(void *Py_UNUSED(nothing))
{
    Writer w = {0};
    uint64_t run[RUN][WORDS];
    lay_out(&w.ring);
    w.version = NEVER;
    for (uint64_t turn = 0; LOAD(w.ring.published) < items; turn++) {
        if (writer_claim(&w, RUN) < 0)
            abort();
        for (uint64_t i = 0; i < RUN; i++)
            for (uint64_t j = 0; j < WORDS; j++)
                run[i][j] = content(w.start + i, j);
        run[0][1] += turn % 5 == 4; /* an aborted claim leaves rubbish, which nobody may take */
        ring_fill(&w.ring, w.start, RUN, (char *)run);
        if (writer_publish(&w, turn % 5 == 4 ? 0 : RUN, (int64_t)w.start, 1) < 0)
            abort();
    }
    atomic_fetch_or(w.ring.flags, 1);
    atomic_fetch_add(w.ring.wakes, 1);
    futex_wake_all(w.ring.wakes);
    return NULL;
}

static void join(Reader *q, uint64_t index, int policy)
{
    q->entry = memory->entries[index];
    q->policy = policy;
    atomic_store(own_word(q, STATE), JOINING);
    reader_join(q, LOAD_ACQUIRE(q->ring.published));
    reader_store(q);
}

/* As Entry.release. */
static void leave(Reader *q)
{
    atomic_store(own_word(q, STATE), FREE);
    if (atomic_exchange(q->ring.wanted, NEVER) != NEVER) {
        atomic_fetch_add(q->ring.rooms, 1);
        futex_wake_all(q->ring.rooms);
    }
}

typedef struct {
    uint64_t index, began, promoted;
    Reader reader;
} Seat;

/* Take runs until the end, or `turns` of them. */
static void take(Seat *seat, uint64_t turns)
{
    Reader *q = &seat->reader;
    uint64_t out[RUN][WORDS], first;
    int64_t times[RUN];
    while (turns) {
        int64_t count = reader_drain(q, RUN, (char *)out, times, &first);
        for (uint64_t i = 0; i < (uint64_t)count; i++) {
            int wrong = times[i] != (int64_t)(first + i);
            for (uint64_t j = 0; j < WORDS; j++)
                wrong |= out[i][j] != content(first + i, j);
            if (wrong) {
                printf("reader %d took a wrong item at %llu\n", (int)seat->index, (unsigned long long)(first + i));
                exit(1);
            }
        }
        if (count) {
            turns--;
            continue;
        }
        if (LOAD_ACQUIRE(q->ring.flags) && LOAD_ACQUIRE(q->ring.published) == q->position)
            return;
        int64_t now = monotonic_ns();
        reader_sleep(q, now + 20000000, turns % 2 ? now + 5000 : 0);
    }
}

/* The first reader stays. The second comes and goes; where it can be lapped, with another policy each time. */
static void *read_all(void *argument)
{
    Seat *seat = argument;
    Reader *q = &seat->reader;
    uint64_t gone = 0;
    for (int policy = KEEP_ALL; !LOAD_ACQUIRE(q->ring.flags); policy = word_by_word ? (policy + 1) % 3 : KEEP_ALL) {
        if (seat->index || !gone) {
            uint64_t before = q->skipped + q->lapped + q->torn + q->taken;
            join(q, seat->index, policy);
            seat->began = q->position - (q->skipped + q->lapped + q->torn + q->taken - before);
        }
        take(seat, seat->index ? TURN : UINT64_MAX);
        gone += q->position - seat->began;
        leave(q);
    }
    uint64_t counted = q->skipped + q->lapped + q->torn + q->taken;
    printf("{\"taken\": %llu, \"skipped\": %llu, \"lapped\": %llu, \"torn\": %llu, \"gone\": %llu, \"demoted\": %llu}\n",
           (unsigned long long)q->taken, (unsigned long long)q->skipped, (unsigned long long)q->lapped,
           (unsigned long long)q->torn, (unsigned long long)gone, (unsigned long long)LOAD(own_word(q, DEMOTIONS)));
    return counted == gone ? NULL : (void *)seat;
}

int main(int count, char **arguments)
{
    if (count != 3)
        return 2;
    word_by_word = strcmp(arguments[1], "lapped") == 0;
    items = strtoull(arguments[2], NULL, 10);
    memory = aligned_alloc(64, sizeof *memory);
    if (!memory)
        return 2;
    memset(memory, 0, sizeof *memory);
    memory->wanted = NEVER;
    name_calls();
    static Seat seats[READERS];
    pthread_t threads[READERS + 1];
    for (uint64_t i = 0; i < READERS; i++) {
        seats[i].index = i;
        lay_out(&seats[i].reader.ring);
    }
    for (uint64_t i = 0; i < READERS; i++)
        if (pthread_create(&threads[i + 1], NULL, read_all, &seats[i]))
            return 2;
    if (pthread_create(&threads[0], NULL, write_all, NULL))
        return 2;
    int failed = 0;
    for (uint64_t i = 0; i <= READERS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        failed |= result != NULL;
    }
    free(memory);
    return failed;
}
