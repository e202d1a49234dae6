/* Where a reader is: joining, holding the writer off, moving on, and the account of what it did not get.
 *
 * Every item between the position of joining and now is in exactly one of: taken, skipped (policy `latest`),
 * lapped (overwritten before we came), torn (overwritten while we used it), or still to come.
 */
#ifndef SHM_POSITION_H
#define SHM_POSITION_H
#include "_ring.h"

enum { LATEST = 0, DROP_OLDEST = 1, KEEP_ALL = 2, LOOK = 3 }; /* LOOK: an observer, unregistered */

typedef struct {
    PyObject_HEAD
    Ring ring;
    char *entry; /* ours in the reader table; NULL for an observer */
    uint64_t position, skipped, lapped, torn, taken;
    int64_t spin_ns; /* how long calls that wait spin before they sleep */
    int policy;
    int viewing; /* a view that moves on is open */
    int fresh;   /* joined at the oldest item and read nothing yet: a moving start is no loss */
} Reader;

static inline word *own_word(Reader *q, uint64_t offset)
{
    return (word *)(q->entry + offset);
}

/* Does our entry hold the writer off `first` and all that follows? Then they are untouched even if `claimed` has passed
 * them: a writer that learns of us after it has raised `claimed` waits, and if it gives up it demotes us (before a fence)
 * before it changes a byte. What lies below the stored position is not held. */
static inline int reader_holds(Reader *q, uint64_t first)
{
    return q->policy == KEEP_ALL && first >= LOAD(own_word(q, q->ring.entry_position)) &&
           KIND(LOAD(own_word(q, q->ring.entry_state))) == LOSSLESS;
}

/* I3: items of [first, first + count) that may have changed before this call. After the last use of the bytes. */
static uint64_t reader_bad(Reader *q, uint64_t first, uint64_t count)
{
    atomic_thread_fence(memory_order_acquire);
    uint64_t claimed = LOAD(q->ring.claimed), slots = q->ring.slots;
    if (claimed - first <= slots || reader_holds(q, first))
        return 0;
    uint64_t bad = claimed - slots - first;
    return bad < count ? bad : count;
}

/* Where a lapped reader goes on: half a ring behind the head. At the very tail the next item would be overwritten
 * while it is copied (measured: more than half of those delivered were). */
static uint64_t reader_rejoin(Reader *q, uint64_t claimed, uint64_t published)
{
    Ring *r = &q->ring;
    uint64_t back = r->slots > 1 ? r->slots / 2 : 1;
    uint64_t target = published > back ? published - back : 0, oldest = ring_oldest(r, claimed);
    if (target < oldest)
        target = oldest;
    return target < published ? target : published;
}

/* The end of every way of becoming gating: joining, going back, promotion. The stored position is `position`, and our
 * entry says LOSSLESS, already. The mirror image of writer_claim (raise claimed, fence, load table_version): a claim
 * that did not see us is seen here, and what it may overwrite is given up. Returns the position that is held. */
static uint64_t reader_gate(Reader *q, uint64_t position)
{
    Ring *r = &q->ring;
    if (q->policy == KEEP_ALL)
        atomic_fetch_add(r->table_version, 1);
    KILL_POINT("gate: version");
    atomic_thread_fence(memory_order_seq_cst);
    uint64_t oldest = ring_oldest(r, LOAD(r->claimed));
    if (position < oldest)
        position = oldest;
    STORE_RELEASE(own_word(q, r->entry_position), position);
    KILL_POINT("gate: position");
    return position;
}

/* The position to ask the gate for: at the oldest item at least, or a live writer would demote us at once. */
static uint64_t reader_wish(Reader *q, uint64_t wanted)
{
    uint64_t oldest = ring_oldest(&q->ring, LOAD(q->ring.claimed));
    return wanted > oldest ? wanted : oldest;
}

/* Make the entry that we hold the lock of readable and, if we are lossless, gating. */
static void reader_join(Reader *q, uint64_t wanted)
{
    Ring *r = &q->ring;
    uint64_t kind = q->policy == KEEP_ALL ? LOSSLESS : ACTIVE, position = reader_wish(q, wanted);
    STORE_RELEASE(own_word(q, r->entry_position), position);
    KILL_POINT("join: position");
    uint64_t state = LOAD_ACQUIRE(own_word(q, r->entry_state));
    while (!atomic_compare_exchange_strong(own_word(q, r->entry_state), &state, (state & ~(uint64_t)0xff) | kind))
        ;
    KILL_POINT("join: state");
    q->position = reader_gate(q, position);
}

/* The demoted lossless reader has caught up: gate the writer again. Our own position stays, so that it tells what was
 * read: if the gate gave items up, the stored one is ahead of it, and reader_begin goes there. */
static void reader_promote(Reader *q)
{
    Ring *r = &q->ring;
    uint64_t state = LOAD_ACQUIRE(own_word(q, r->entry_state));
    uint64_t near = r->slots >= 8 ? r->slots / 4 : 1;
    if (KIND(state) != DEMOTED || LOAD_ACQUIRE(r->published) - q->position >= near)
        return;
    if (atomic_compare_exchange_strong(own_word(q, r->entry_state), &state, (state & ~(uint64_t)0xff) | LOSSLESS)) {
        KILL_POINT("promote: state");
        reader_gate(q, q->position);
    }
}

/* Tell the table where we are; a writer that waits for room is woken when it is worth it. */
static void reader_store(Reader *q)
{
    Ring *r = &q->ring;
    if (!q->entry)
        return;
    STORE(own_word(q, r->entry_skipped), q->skipped);
    STORE(own_word(q, r->entry_lapped), q->lapped);
    STORE(own_word(q, r->entry_torn), q->torn);
    STORE(own_word(q, r->entry_taken), q->taken);
    KILL_POINT("store: counts");
    /* release: our use of the bytes happens before the writer, which loads this, overwrites them */
    STORE_RELEASE(own_word(q, r->entry_position), q->position);
    KILL_POINT("store: position");
    if (q->policy != KEEP_ALL)
        return;
    atomic_thread_fence(memory_order_seq_cst); /* position before wanted; the writer stores wanted, then scans */
    if (q->position >= LOAD(r->wanted) && atomic_exchange(r->wanted, NEVER) != NEVER) {
        KILL_POINT("store: wanted taken");
        atomic_fetch_add(r->rooms, 1);
        KILL_POINT("store: room counted");
        futex_wake_all(r->rooms);
    }
}

static void reader_advance(Reader *q, uint64_t position)
{
    q->position = position;
    q->fresh = 0;
    reader_store(q);
    if (q->policy == KEEP_ALL)
        reader_promote(q);
}

/* Going back: the limit that the writer keeps is too high from here on, so the end is that of joining. */
static void reader_seek_back(Reader *q, uint64_t wanted)
{
    uint64_t position = reader_wish(q, wanted);
    STORE_RELEASE(own_word(q, q->ring.entry_position), position);
    KILL_POINT("seek: position");
    q->position = reader_gate(q, position);
    q->lapped += q->position - wanted;
    q->fresh = 0;
    reader_store(q);
}

/* Where a reader goes on whose next item is overwritten. */
static uint64_t reader_next(Reader *q, uint64_t claimed, uint64_t published)
{
    if (q->policy == KEEP_ALL) {
        uint64_t held = LOAD(own_word(q, q->ring.entry_position));
        if (held > q->position && reader_holds(q, held))
            return held; /* the gate gave up what lies between when it promoted us */
    }
    uint64_t target = q->fresh ? ring_oldest(&q->ring, claimed) : reader_rejoin(q, claimed, published);
    return target < published ? target : published;
}

/* Choose the next run by policy: at most `most` items from `*first`; 0 if there is nothing new. */
static uint64_t reader_begin(Reader *q, uint64_t most, uint64_t *first)
{
    Ring *r = &q->ring;
    uint64_t published = LOAD_ACQUIRE(r->published);
    if ((int64_t)(published - q->position) <= 0 || !most)
        return 0;
    if (q->policy == LATEST && published - q->position > most) {
        q->skipped += published - q->position - most;
        q->position = published - most;
    }
    uint64_t claimed = LOAD(r->claimed);
    if (claimed - q->position > r->slots && !reader_holds(q, q->position)) {
        uint64_t target = reader_next(q, claimed, published);
        if (!q->fresh)
            q->lapped += target - q->position;
        q->position = target;
        reader_store(q);
        if ((int64_t)(published - target) <= 0)
            return 0;
    }
    *first = q->position;
    uint64_t count = published - q->position;
    return count < most ? count : most;
}

#endif
