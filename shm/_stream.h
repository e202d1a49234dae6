/* Copying into a ring: through the cache, or past it where that was measured to be faster.
 *
 * A ring deeper than the cache is written to memory in the end anyhow; stores that bypass the cache ("streaming", "non
 * temporal") spare reading each line first, and leave the cache to others. In a ring that fits they cost a fifth. How
 * much cache a core has for itself no header tells (virtual machines report that of the whole host), so a writer
 * measures it once, on its own fresh ring, and with the reading, which pays for what is not in the cache.
 */
#ifndef SHM_STREAM_H
#define SHM_STREAM_H
#include "_ring.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define STREAM_LEAST ((size_t)256 * 1024)           /* smaller copies are not worth a decision */
#define STREAM_SAMPLE ((uint64_t)64 * 1024 * 1024)  /* bytes of the ring that are written to find out */
#define STREAM_PASSES 2

#if defined(__SSE2__)
/* memcpy with streaming stores. They overtake every other store, so the fence stands here, before whatever publishes
 * the bytes (I2); that they do not overtake `claimed` is the business of the full fence of I1. */
static void copy_streaming(char *to, const char *from, size_t n)
{
    size_t head = (size_t)(-(uintptr_t)to & 15U);
    memcpy(to, from, head);
    to += head, from += head, n -= head;
    for (; n >= 64; to += 64, from += 64, n -= 64) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)from);
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(from + 16));
        __m128i c = _mm_loadu_si128((const __m128i *)(const void *)(from + 32));
        __m128i d = _mm_loadu_si128((const __m128i *)(const void *)(from + 48));
        _mm_stream_si128((__m128i *)(void *)to, a);
        _mm_stream_si128((__m128i *)(void *)(to + 16), b);
        _mm_stream_si128((__m128i *)(void *)(to + 32), c);
        _mm_stream_si128((__m128i *)(void *)(to + 48), d);
    }
    memcpy(to, from, n);
    _mm_sfence();
}
#else
#define copy_streaming memcpy
#endif

static void ring_copy_in(const Ring *r, char *to, const char *from, size_t n)
{
    if (r->streams && n >= STREAM_LEAST)
        copy_streaming(to, from, n);
    else
        memcpy(to, from, n);
}

#if defined(__SSE2__)
/* Write every item and read it, as somebody close behind would. */
static uint64_t stream_lap(Ring *r, uint64_t slots, const char *zeros)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < slots; i++) {
        const char *item = r->data + i * r->stride;
        ring_copy_in(r, r->data + i * r->stride, zeros, (size_t)r->item_bytes);
        for (uint64_t at = 0; at + 64 <= r->item_bytes; at += 64)
            sum += *(const volatile uint64_t *)(const void *)(item + at);
    }
    return sum;
}

/* The time of a lap after one of its kind: streaming stores throw lines out of the cache, and whoever comes next finds
 * them gone. */
static int64_t stream_time(Ring *r, uint64_t slots, const char *zeros, int streams)
{
    r->streams = streams;
    stream_lap(r, slots, zeros);
    int64_t began = monotonic_ns();
    stream_lap(r, slots, zeros);
    return monotonic_ns() - began;
}

/* Decide how this ring is written. A ring that holds items already (a takeover) is not written to for that: it streams
 * if it is deeper than any cache. */
static void ring_choose_copy(Ring *r)
{
    uint64_t bytes = r->slots * r->stride;
    r->streams = 0;
    if (r->item_bytes < STREAM_LEAST)
        return;
    if (LOAD(r->claimed) != r->first) {
        r->streams = bytes >= STREAM_SAMPLE;
        return;
    }
    char *zeros = calloc(1, (size_t)r->item_bytes);
    if (!zeros)
        return;
    for (uint64_t i = 0; i < r->item_bytes; i += 4096)
        ((volatile char *)zeros)[i] = 0; /* a page of its own: until written it is the one zero page, always in cache */
    uint64_t slots = bytes <= STREAM_SAMPLE ? r->slots : STREAM_SAMPLE / r->stride + 1;
    int64_t cached = INT64_MAX, streamed = INT64_MAX;
    for (int pass = 0; pass < STREAM_PASSES; pass++) {
        int64_t one = stream_time(r, slots, zeros, 0), other = stream_time(r, slots, zeros, 1);
        cached = one < cached ? one : cached;
        streamed = other < streamed ? other : streamed;
    }
    free(zeros);
    r->streams = streamed < cached;
}
#else
static void ring_choose_copy(Ring *r)
{
    r->streams = 0;
}
#endif

#endif
