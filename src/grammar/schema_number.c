/* Numbers of a schema, and their bounds.
 *
 * A bound is a decimal: a whole part and 15 digits behind the point. A range of numbers is cut at
 * zero by sign, then by whole parts: those strictly between the bounds may have any fraction, those
 * of a bound itself have, for each number of digits, a range of fractions. */
#include "grammar/schema.h"

#define WHOLE_DIGITS 15
#define INTEGER_DIGITS 18
#define FRACTION_DIGITS 15

typedef struct bound {
    bool exists, negative, exclusive;
    uint64_t whole, fraction; /* of the magnitude; the fraction in units of 1e-15 */
} bound;

static uint64_t power(uint32_t exponent)
{
    uint64_t value = 1;
    while (exponent--)
        value *= 10;
    return value;
}

/* Digits of a decimal with its point at some place; false: more than a bound can hold exactly. */
static bool scan_decimal(const sluice_json_value *number, bound *out)
{
    const char *text = number->text, *end = text + number->length;
    int64_t point = 0, exponent = 0;
    char digits[64];
    size_t count = 0;
    bool behind = false, small = false;
    if (*text == '-') text++;
    for (; text < end && *text != 'e' && *text != 'E'; text++) {
        behind |= *text == '.';
        if (*text == '.') continue;
        if (count == sizeof digits) return false;
        digits[count++] = *text;
        point += !behind;
    }
    if (text < end) {
        text++;
        small = text < end && *text == '-';
        for (; text < end; text++) {
            if (*text >= '0' && *text <= '9' && exponent < 1000)
                exponent = exponent * 10 + *text - '0';
        }
    }
    point += small ? -exponent : exponent;
    out->whole = out->fraction = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t place = point - 1 - (int64_t)i; /* of 10 */
        if (digits[i] == '0') continue;
        if (place < -FRACTION_DIGITS) return false;
        if (place >= INTEGER_DIGITS) out->whole = power(INTEGER_DIGITS);
        if (place >= INTEGER_DIGITS) return true; /* beyond any number that is written */
        uint64_t value = (uint64_t)(digits[i] - '0');
        if (place >= 0)
            out->whole += value * power((uint32_t)place);
        else
            out->fraction += value * power((uint32_t)(FRACTION_DIGITS + place));
    }
    return true;
}

static sluice_status read_bound(sluice_schema_builder *b, const sluice_json_value *schema,
                                const char *inclusive, const char *exclusive, bound *out)
{
    const sluice_json_value *at = sluice_json_get(schema, inclusive);
    const sluice_json_value *strict = sluice_json_get(schema, exclusive);
    *out = (bound){0};
    if (at && strict) {
        return sluice_schema_refuse(b, SLUICE_UNSUPPORTED, "%s beside %s is not supported",
                                    inclusive, exclusive);
    }
    const sluice_json_value *value = at ? at : strict;
    if (!value) return SLUICE_OK;
    if (value->kind != SLUICE_JSON_IS_NUMBER) {
        return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "%s is no number", value->key);
    }
    *out = (bound){.exists = true, .negative = value->text[0] == '-', .exclusive = strict != NULL};
    if (scan_decimal(value, out)) {
        if (!out->whole && !out->fraction) out->negative = false;
        return SLUICE_OK;
    }
    return sluice_schema_refuse(b, SLUICE_UNSUPPORTED, "%s has too many digits", value->key);
}

static uint32_t count_digits(uint64_t value)
{
    uint32_t count = 1;
    while (value >= 10) {
        value /= 10;
        count++;
    }
    return count;
}

/* Numbers low..high as exactly so many digits. */
static void build_fixed(sluice_automaton *a, uint32_t from, uint64_t low, uint64_t high,
                        uint32_t digits, uint32_t to)
{
    if (digits == 0) {
        sluice_automaton_empty(a, from, to);
        return;
    }
    uint64_t unit = power(digits - 1);
    uint64_t first = low / unit, last = high / unit;
    bool low_full = low % unit == 0, high_full = high % unit == unit - 1;
    if (first == last || !low_full) {
        uint32_t next = sluice_automaton_state(a);
        sluice_automaton_bytes(a, from, '0' + (unsigned)first, '0' + (unsigned)first, next);
        build_fixed(a, next, low % unit, first == last ? high % unit : unit - 1, digits - 1, to);
        if (first == last) return;
        first++;
    }
    if (!high_full) {
        uint32_t next = sluice_automaton_state(a);
        sluice_automaton_bytes(a, from, '0' + (unsigned)last, '0' + (unsigned)last, next);
        build_fixed(a, next, 0, high % unit, digits - 1, to);
        if (last == first) return;
        last--;
    }
    if (first > last) return;
    uint32_t next = sluice_automaton_state(a);
    sluice_automaton_bytes(a, from, '0' + (unsigned)first, '0' + (unsigned)last, next);
    sluice_automaton_empty(a, sluice_json_build_digits(a, next, digits - 1, digits - 1), to);
}

/* Whole numbers low..high, without zeros in front. */
static void build_whole(sluice_automaton *a, uint32_t from, uint64_t low, uint64_t high,
                        uint32_t to)
{
    for (uint32_t digits = count_digits(low); low <= high; digits++) {
        uint64_t last = power(digits) - 1;
        if (last > high) last = high;
        build_fixed(a, from, low, last, digits, to);
        low = last + 1;
    }
}

/* Whole numbers of a signed range. */
static void build_integers(sluice_automaton *a, uint32_t from, int64_t low, int64_t high,
                           uint32_t to)
{
    if (high >= 0) build_whole(a, from, low > 0 ? (uint64_t)low : 0, (uint64_t)high, to);
    if (low < 0) {
        uint32_t minus = sluice_build_text(a, from, "-");
        build_whole(a, minus, high < 0 ? (uint64_t)-high : 1, (uint64_t)-low, to);
    }
}

/* The least integer that a lower bound allows, or the greatest that an upper one does. */
static int64_t round_bound(const bound *b, bool lower, int64_t fallback)
{
    if (!b->exists) return fallback;
    int64_t limit = (int64_t)power(INTEGER_DIGITS) - 1;
    int64_t whole = b->whole > (uint64_t)limit ? limit + 1 : (int64_t)b->whole;
    int64_t value = b->negative ? -whole : whole;
    if (b->fraction && lower && !b->negative) value++;
    if (b->fraction && !lower && b->negative) value--;
    if (!b->fraction && b->exclusive) value += lower ? 1 : -1;
    return value;
}

static sluice_status build_integer(sluice_schema_builder *b, const bound *low, const bound *high,
                                   uint32_t from, uint32_t *to)
{
    int64_t limit = (int64_t)power(INTEGER_DIGITS) - 1;
    int64_t first = round_bound(low, true, -limit), last = round_bound(high, false, limit);
    if (first < -limit) first = -limit;
    if (last > limit) last = limit;
    if (first > last) {
        return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "no integer lies between the bounds");
    }
    *to = sluice_automaton_state(b->a);
    build_integers(b->a, from, first, last, *to);
    return SLUICE_OK;
}

/* A range of magnitudes, in units of 1e-15 behind the whole part. */
typedef struct magnitudes {
    uint64_t low, low_fraction, high, high_fraction; /* inclusive */
} magnitudes;

/* Behind a whole part: fractions first..last in units of 1e-15, and none at all if first is 0. */
static void build_fractions(sluice_automaton *a, uint32_t from, uint64_t first, uint64_t last,
                            uint32_t to)
{
    if (first == 0) sluice_automaton_empty(a, from, to);
    uint32_t point = sluice_build_text(a, from, ".");
    for (uint32_t digits = 1; digits <= FRACTION_DIGITS; digits++) {
        uint64_t unit = power(FRACTION_DIGITS - digits);
        uint64_t low = (first + unit - 1) / unit, high = last / unit;
        if (low <= high) build_fixed(a, point, low, high, digits, to);
    }
}

static void build_magnitudes(sluice_automaton *a, uint32_t from, const magnitudes *m, uint32_t to)
{
    uint64_t most = power(FRACTION_DIGITS) - 1;
    bool one = m->low == m->high;
    uint32_t at_low = sluice_automaton_state(a);
    build_whole(a, from, m->low, m->low, at_low);
    build_fractions(a, at_low, m->low_fraction, one ? m->high_fraction : most, to);
    if (one) return;
    uint32_t at_high = sluice_automaton_state(a);
    build_whole(a, from, m->high, m->high, at_high);
    build_fractions(a, at_high, 0, m->high_fraction, to);
    if (m->high - m->low < 2) return;
    uint32_t between = sluice_automaton_state(a);
    build_whole(a, from, m->low + 1, m->high - 1, between);
    build_fractions(a, between, 0, most, to);
}

/* The magnitudes of one sign, between the bound nearer to zero and the other; either may be
 * missing. Numbers below zero have none of zero. False: there are none. */
static bool find_magnitudes(const bound *near, const bound *far, bool negative, magnitudes *m)
{
    uint64_t most = power(FRACTION_DIGITS) - 1, limit = power(WHOLE_DIGITS) - 1;
    *m = (magnitudes){0, negative ? 1 : 0, limit, most};
    if (near->exists) {
        bool carry = near->exclusive && near->fraction == most;
        m->low = near->whole + carry;
        m->low_fraction = carry ? 0 : near->fraction + near->exclusive;
    }
    if (far->exists && far->whole <= limit) {
        bool borrow = far->exclusive && far->fraction == 0;
        if (borrow && far->whole == 0) return false;
        m->high = far->whole - borrow;
        m->high_fraction = borrow ? most : far->fraction - far->exclusive;
    }
    return m->low < m->high || (m->low == m->high && m->low_fraction <= m->high_fraction);
}

static sluice_status build_real(sluice_schema_builder *b, const bound *low, const bound *high,
                                uint32_t from, uint32_t *to)
{
    static const bound none;
    magnitudes m;
    bool any = false;
    *to = sluice_automaton_state(b->a);
    /* Numbers from zero up, if the upper bound is there; numbers below zero likewise. */
    if (!(high->exists && high->negative) &&
        find_magnitudes(low->exists && !low->negative ? low : &none, high, false, &m)) {
        build_magnitudes(b->a, from, &m, *to);
        any = true;
    }
    if (!(low->exists && !low->negative) &&
        find_magnitudes(high->negative ? high : &none, low, true, &m)) {
        build_magnitudes(b->a, sluice_build_text(b->a, from, "-"), &m, *to);
        any = true;
    }
    if (any) return SLUICE_OK;
    return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "no number lies between the bounds");
}

sluice_status sluice_schema_number(sluice_schema_builder *b, const sluice_json_value *schema,
                                   bool integer, uint32_t from, uint32_t *to)
{
    bound low, high;
    SLUICE_TRY(read_bound(b, schema, "minimum", "exclusiveMinimum", &low));
    SLUICE_TRY(read_bound(b, schema, "maximum", "exclusiveMaximum", &high));
    if (!low.exists && !high.exists) {
        *to = sluice_build_call(b->a, from,
                                integer ? sluice_json_rules_integer(b->json)
                                        : sluice_json_rules_number(b->json));
        return SLUICE_OK;
    }
    return integer ? build_integer(b, &low, &high, from, to) : build_real(b, &low, &high, from, to);
}
