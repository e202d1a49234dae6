/* Defects to plant into the real code, so that the checks show that they would find them; by -D.
 *
 * Include it after _native.h, which defines the macros, and before the headers that use them.
 */
#ifdef PLANT_RELAXED_STORE /* published and positions no longer carry the bytes with them */
#undef STORE_RELEASE
#define STORE_RELEASE(p, v) STORE((p), (v))
#endif

#ifdef PLANT_RELAXED_LOAD /* nor are the bytes looked at after them */
#undef LOAD_ACQUIRE
#define LOAD_ACQUIRE(p) LOAD(p)
#endif

#ifdef PLANT_PLAIN_STORE /* claimed, counts and times are no atomics any more */
#undef STORE
#define STORE(p, v) ((void)(*(uint64_t *)(uintptr_t)(p) = (uint64_t)(v)))
#endif

#ifdef PLANT_NO_FENCES /* what is left keeps the compiler from reordering, not the CPU */
#undef atomic_thread_fence
#define atomic_thread_fence(order) atomic_signal_fence(order)
#endif
