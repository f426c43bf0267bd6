/* Writes JSON as Python does: see json_write.h. */
#include "tokenizer/json_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Exponents beyond this are as good as infinite for a double, whatever the digits (a number's text
 * is far shorter than this). */
#define EXPONENT_MAX INT64_C(1000000000000)

static bool is_float(const sluice_json_value *number)
{
    for (size_t i = 0; i < number->length; i++) {
        char byte = number->text[i];
        if (byte == '.' || byte == 'e' || byte == 'E') return true;
    }
    return false;
}

/* The value of a number. The text is rewritten without its point, since strtod's point depends on
 * the locale. NAN stands for no memory. */
static double parse_float(const char *text, size_t length)
{
    char *digits = malloc(length + 32);
    if (!digits) return NAN;
    size_t used = 0, at = 0;
    int64_t exponent = 0, fraction = 0;
    bool behind_point = false;
    for (; at < length && text[at] != 'e' && text[at] != 'E'; at++) {
        if (text[at] == '.') {
            behind_point = true;
        } else {
            digits[used++] = text[at];
            fraction += behind_point;
        }
    }
    if (at < length) {
        bool negative = text[++at] == '-';
        for (; at < length; at++) {
            if (text[at] >= '0' && text[at] <= '9' && exponent < EXPONENT_MAX) {
                exponent = exponent * 10 + (text[at] - '0');
            }
        }
        if (negative) exponent = -exponent;
    }
    snprintf(digits + used, 32, "e%lld", (long long)(exponent - fraction));
    double value = strtod(digits, NULL);
    free(digits);
    return value;
}

/* The shortest digits that give the same double again, and the place of the point behind them:
 * value = 0.DIGITS * 10^point. value is finite and not negative. */
static int shortest_digits(double value, char digits[32], int *point)
{
    for (int precision = 1;; precision++) {
        char text[48], again[48];
        snprintf(text, sizeof text, "%.*e", precision - 1, value);
        int count = 0, at = 0;
        for (; text[at] != 'e'; at++) {
            if (text[at] >= '0' && text[at] <= '9') digits[count++] = text[at];
        }
        digits[count] = 0;
        int exponent = atoi(text + at + 1);
        *point = exponent + 1;
        snprintf(again, sizeof again, "%se%d", digits, exponent - (count - 1));
        if (precision == 17 || strtod(again, NULL) == value) return count;
    }
}

/* repr(float): fixed notation for points from -3 to 16, otherwise an exponent of two digits or
 * more. */
static void write_float(sluice_text_buffer *to, double value)
{
    char digits[32];
    int point;
    if (signbit(value)) sluice_text_buffer_append_byte(to, '-');
    value = fabs(value);
    if (value == 0) {
        sluice_text_buffer_append_string(to, "0.0");
        return;
    }
    int count = shortest_digits(value, digits, &point);
    while (count > 1 && digits[count - 1] == '0')
        digits[--count] = 0;
    if (point <= -4 || point > 16) {
        char exponent[16];
        sluice_text_buffer_append(to, digits, 1);
        if (count > 1) {
            sluice_text_buffer_append_byte(to, '.');
            sluice_text_buffer_append(to, digits + 1, (size_t)count - 1);
        }
        snprintf(exponent, sizeof exponent, "e%+03d", point - 1);
        sluice_text_buffer_append_string(to, exponent);
        return;
    }
    if (point <= 0) {
        sluice_text_buffer_append_string(to, "0.");
        for (int i = point; i < 0; i++)
            sluice_text_buffer_append_byte(to, '0');
        sluice_text_buffer_append_string(to, digits);
        return;
    }
    for (int i = 0; i < point; i++) {
        sluice_text_buffer_append_byte(to, i < count ? digits[i] : '0');
    }
    sluice_text_buffer_append_byte(to, '.');
    sluice_text_buffer_append_string(to, count > point ? digits + point : "0");
}

static void write_number(sluice_text_buffer *to, const sluice_json_value *number,
                         sluice_json_numbers numbers, const char *infinity)
{
    if (numbers == SLUICE_JSON_NUMBERS_KEPT) {
        sluice_text_buffer_append(to, number->text, number->length);
        return;
    }
    if (!is_float(number)) {
        bool negative_zero = number->length == 2 && memcmp(number->text, "-0", 2) == 0;
        sluice_text_buffer_append(to, number->text + negative_zero, number->length - negative_zero);
        return;
    }
    double value = parse_float(number->text, number->length);
    if (isnan(value)) {
        to->failed = true;
    } else if (isinf(value)) {
        if (value < 0) sluice_text_buffer_append_byte(to, '-');
        sluice_text_buffer_append_string(to, infinity);
    } else {
        write_float(to, value);
    }
}

void sluice_json_write_string(sluice_text_buffer *to, const char *text, size_t length)
{
    static const char named[] = "\"\\\n\r\t\f\b", letters[] = "\"\\nrtfb";
    sluice_text_buffer_append_byte(to, '"');
    size_t begin = 0;
    for (size_t at = 0; at < length; at++) {
        unsigned char byte = (unsigned char)text[at];
        if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
        sluice_text_buffer_append(to, text + begin, at - begin);
        begin = at + 1;
        const char *found = byte ? strchr(named, byte) : NULL;
        char escape[8];
        if (found) {
            snprintf(escape, sizeof escape, "\\%c", letters[found - named]);
        } else {
            snprintf(escape, sizeof escape, "\\u%04x", byte);
        }
        sluice_text_buffer_append_string(to, escape);
    }
    sluice_text_buffer_append(to, text + begin, length - begin);
    sluice_text_buffer_append_byte(to, '"');
}

static void write_container(sluice_text_buffer *to, const sluice_json_value *value,
                            sluice_json_numbers numbers)
{
    bool is_object = value->kind == SLUICE_JSON_IS_OBJECT;
    sluice_text_buffer_append_byte(to, is_object ? '{' : '[');
    for (const sluice_json_value *at = value->first; at; at = at->next) {
        if (at != value->first) sluice_text_buffer_append_string(to, ", ");
        if (is_object) {
            sluice_json_write_string(to, at->key, at->key_length);
            sluice_text_buffer_append_string(to, ": ");
        }
        sluice_json_write(to, at, numbers);
    }
    sluice_text_buffer_append_byte(to, is_object ? '}' : ']');
}

void sluice_json_write(sluice_text_buffer *to, const sluice_json_value *value,
                       sluice_json_numbers numbers)
{
    switch (value->kind) {
    case SLUICE_JSON_IS_NULL: sluice_text_buffer_append_string(to, "null"); break;
    case SLUICE_JSON_IS_FALSE: sluice_text_buffer_append_string(to, "false"); break;
    case SLUICE_JSON_IS_TRUE: sluice_text_buffer_append_string(to, "true"); break;
    case SLUICE_JSON_IS_NUMBER: write_number(to, value, numbers, "Infinity"); break;
    case SLUICE_JSON_IS_STRING: sluice_json_write_string(to, value->text, value->length); break;
    default: write_container(to, value, numbers); break;
    }
}

void sluice_json_write_str(sluice_text_buffer *to, const sluice_json_value *value)
{
    switch (value->kind) {
    case SLUICE_JSON_IS_NULL: sluice_text_buffer_append_string(to, "None"); break;
    case SLUICE_JSON_IS_FALSE: sluice_text_buffer_append_string(to, "False"); break;
    case SLUICE_JSON_IS_TRUE: sluice_text_buffer_append_string(to, "True"); break;
    case SLUICE_JSON_IS_STRING: sluice_text_buffer_append(to, value->text, value->length); break;
    case SLUICE_JSON_IS_NUMBER: write_number(to, value, SLUICE_JSON_NUMBERS_PYTHON, "inf"); break;
    default: sluice_json_write(to, value, SLUICE_JSON_NUMBERS_PYTHON); break;
    }
}
