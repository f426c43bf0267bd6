/* CRC32C: the published vectors, and the fast path against the tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/rng.h"

static void known_answers_of_rfc_3720(void **state)
{
    (void)state;
    uint8_t data[32];
    assert_int_equal(sluice_crc32c(0, "", 0), 0);
    assert_int_equal(sluice_crc32c(0, "123456789", 9), 0xe3069283);
    memset(data, 0, sizeof data);
    assert_int_equal(sluice_crc32c(0, data, sizeof data), 0x8a9136aa);
    memset(data, 0xff, sizeof data);
    assert_int_equal(sluice_crc32c(0, data, sizeof data), 0x62a8ab43);
    for (int i = 0; i < 32; i++)
        data[i] = (uint8_t)i;
    assert_int_equal(sluice_crc32c(0, data, sizeof data), 0x46dd794e);
    assert_int_equal(sluice_crc32c_scalar(0, data, sizeof data), 0x46dd794e);
}

static void instruction_equals_tables_at_every_length_offset_and_split(void **state)
{
    (void)state;
    enum { SIZE = 40000 };
    uint8_t *data = malloc(SIZE);
    assert_non_null(data);
    sluice_rng rng;
    sluice_rng_seed(&rng, 1);
    for (int i = 0; i < SIZE; i++)
        data[i] = (uint8_t)sluice_rng_next(&rng);
    for (int run = 0; run < 3000; run++) {
        size_t start = sluice_rng_below(&rng, 64);
        size_t bytes = sluice_rng_below(&rng, run % 2 ? 200 : SIZE - 64);
        size_t split = sluice_rng_below(&rng, bytes + 1);
        uint32_t expected = sluice_crc32c_scalar(0, data + start, bytes);
        assert_int_equal(sluice_crc32c(0, data + start, bytes), expected);
        uint32_t first = sluice_crc32c(0, data + start, split);
        assert_int_equal(sluice_crc32c(first, data + start + split, bytes - split), expected);
    }
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers_of_rfc_3720),
        cmocka_unit_test(instruction_equals_tables_at_every_length_offset_and_split),
    };
    return cmocka_run_group_tests_name("crc32c", tests, NULL, NULL);
}
