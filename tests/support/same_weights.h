/* Does a container hold the very values of its source? Answered along another path than convert's:
 * the source by raw_safetensors, the container by quant's scalar unpack. */
#ifndef SLUICE_TESTS_SUPPORT_SAME_WEIGHTS_H
#define SLUICE_TESTS_SUPPORT_SAME_WEIGHTS_H

/* Every element of every tensor, bit for bit; fails the test with tensor, row and column. */
void same_weights_assert(const char *source, const char *container);

/* The same with rounding: no element may differ by more than `steps` of its group's range, which is
 * what requantising to `bits` may cost. Vectors must still be equal. Router and shared gate are
 * held to 8 bits at least. experts or trunk 0: those must be equal. */
void same_weights_assert_near(const char *source, const char *container, int expert_bits,
                              int trunk_bits);

#endif
