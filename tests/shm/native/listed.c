/* The real extension, and each step of its protocol as one function whose listing can be read.
 *
 * `flatten` inlines all that a step calls, as the compiler may do in the extension itself; only what lies outside (memcpy,
 * Python) stays a call. The constants tell the reader of the listing where a field of Ring lies.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "_native.h"
#include "plants.h"
#include "_native.c"

#define LISTED __attribute__((noinline, flatten, used))

/* I1, I2: claim, fill in place, publish */
LISTED int listed_write(Writer *w, char value)
{
    if (writer_claim(w, 1) < 0)
        return -1;
    *ring_slot(&w->ring, w->start) = value;
    return writer_publish(w, 1, w->entry_ns, 0);
}

/* I1, I2: the same with a copy */
LISTED int listed_copy_in(Writer *w, const char *source)
{
    if (writer_claim(w, 1) < 0)
        return -1;
    ring_fill(&w->ring, w->start, 1, source);
    return writer_publish(w, 1, w->entry_ns, 0);
}

/* I3: copy, validate */
LISTED uint64_t listed_copy_out(Reader *q, uint64_t first, char *out)
{
    ring_copy_out(&q->ring, first, 1, out);
    return reader_bad(q, first, 1);
}

/* I3: look in place, validate */
LISTED int listed_look(Reader *q, uint64_t first)
{
    char seen = *ring_slot(&q->ring, first);
    return reader_bad(q, first, 1) ? -1 : seen;
}

LISTED uint64_t listed_bad(Reader *q, uint64_t first, uint64_t count) { return reader_bad(q, first, count); }
LISTED uint64_t listed_begin(Reader *q, uint64_t *first) { return reader_begin(q, 1, first); }
LISTED void listed_store(Reader *q) { reader_store(q); }
LISTED void listed_join(Reader *q, uint64_t wanted) { reader_join(q, wanted); }
LISTED void listed_promote(Reader *q) { reader_promote(q); }
LISTED int listed_arm(Reader *q) { return reader_arm(q, ARMED_FUTEX); }
LISTED int listed_scan(Writer *w, uint64_t upto) { return writer_scan(w, upto); }
LISTED int listed_wait_room(Writer *w, uint64_t upto, int64_t until) { return wait_room(w, upto, until, 0); }

_Static_assert(offsetof(Writer, ring) == offsetof(Reader, ring), "one table of offsets serves both ends");
#define AT(field) __attribute__((used)) const uint64_t at_##field = offsetof(Writer, ring.field)
AT(claimed);
AT(published);
AT(flags);
AT(table_version);
AT(armed);
AT(wanted);
AT(entries);
AT(data);
AT(times);
__attribute__((used)) const uint64_t at_entry = offsetof(Reader, entry);
