/* See convert_target.h. */
#include "format/convert_target.h"

#include <stdlib.h>
#include <string.h>

#define MIX "mix:"
#define MIX_MIN 2.0
#define MIX_MAX 8.0

static bool parse_group(const char *text, uint8_t *group)
{
    *group = strcmp(text, "/32") == 0 ? 32 : strcmp(text, "/64") == 0 ? 64 : 0;
    if (strcmp(text, "/128") == 0) *group = 128;
    return !*text || *group;
}

static bool parse_mix(const char *text, sluice_target *out)
{
    char *end;
    size_t length = strlen(MIX);
    if (strncmp(text, MIX, length) != 0 || text[length] < '0' || text[length] > '9') return false;
    out->mix = strtod(text + length, &end);
    return out->mix >= MIX_MIN && out->mix <= MIX_MAX && parse_group(end, &out->group);
}

sluice_status sluice_target_parse(const char *text, const char *option, bool mixes,
                                  sluice_target *out, sluice_error *err)
{
    static const struct {
        const char *name;
        uint8_t bits;
    } names[] = {{"q2", 2}, {"q3", 3}, {"q4", 4}, {"q5", 5}, {"q6", 6}, {"q8", 8}, {"bf16", 16}};
    *out = (sluice_target){.keep = !text};
    if (!text) return SLUICE_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t length = strlen(names[i].name);
        if (strncmp(text, names[i].name, length) != 0) continue;
        out->bits = names[i].bits;
        if (parse_group(text + length, &out->group) && (out->bits < 16 || !out->group))
            return SLUICE_OK;
    }
    *out = (sluice_target){0};
    if (mixes && parse_mix(text, out)) return SLUICE_OK;
    return sluice_fail(err, SLUICE_USAGE,
                       "%s \"%.40s\" is not one of q2, q3, q4, q5, q6, q8 (with /32, /64 or /128: "
                       "columns that share a scale)%s and bf16",
                       option, text,
                       mixes ? ", mix:2 to mix:8 (the mean of bits, such as 3.5)" : "");
}

/* A matrix that already has the bits asked for keeps its values; one whose columns no group divides
 * keeps them too. Scales are f16 where the source is, else bf16. */
sluice_weight_format sluice_target_choose(const sluice_source_matrix *from, sluice_target to,
                                          bool careful)
{
    sluice_weight_format own = from->format;
    if (to.keep) return own;
    uint8_t bits = careful && to.bits < 8 ? 8 : to.bits;
    if (bits == 16) return (sluice_weight_format){.kind = SLUICE_WEIGHT_BF16, .bits = 16};
    uint8_t group = to.group && from->cols % to.group == 0 ? to.group : from->cols % 64 ? 32 : 64;
    if (own.kind == SLUICE_WEIGHT_AFFINE && own.bits == bits &&
        (!to.group || own.group == group || careful))
        return own;
    if (from->cols % 32) return own;
    bool f16 = own.kind == SLUICE_WEIGHT_F16 ||
               (own.kind == SLUICE_WEIGHT_AFFINE && own.scale == SLUICE_WEIGHT_F16);
    return (sluice_weight_format){.kind = SLUICE_WEIGHT_AFFINE,
                                  .bits = bits,
                                  .group = group,
                                  .scale = f16 ? SLUICE_WEIGHT_F16 : SLUICE_WEIGHT_BF16};
}
