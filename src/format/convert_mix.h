/* How many bits each of a model's expert matrices gets, so that their mean is what was asked for
 * and the error that it makes is small.
 *
 * What: for every layer and each of gate, up and down (all experts of a layer have the same format)
 * some rows of some experts are rounded to each number of bits, as conversion will (quant/fit.h),
 * and their error is taken as a share of what the rows make of their inputs. An error in gate or up
 * counts as the same share of the layer's sum of experts, whose mean square follows from down and
 * its inputs; so all errors are mean squares in the residual stream. Bits then go where a bit
 * removes most, from 2 bits on.
 *
 * What it does not know: what later layers make of an error. An MTP layer, which importances do not
 * show, gets the next lower number of bits and does not count.
 *
 * Internal to format/. */
#ifndef SLUICE_FORMAT_CONVERT_MIX_H
#define SLUICE_FORMAT_CONVERT_MIX_H

#include "format/convert_target.h"
#include "format/importance.h"

#define SLUICE_MIX_LEVELS 6
extern const uint8_t sluice_mix_bits[SLUICE_MIX_LEVELS]; /* 2, 3, 4, 5, 6, 8 */

/* Chooses a level for each of `count` matrices of equal size: errors [count][levels], each row
 * falling. The mean of their bits is at most `mean`, which is at least 2. */
void sluice_mix_allocate(const double *errors, int32_t count, double mean, int32_t *levels);

/* bits: [layers + mtp_layers][3]. Deterministic. to.mix is the mean. */
sluice_status sluice_mix_choose(const sluice_source *source, const sluice_importance *importance,
                                sluice_target to, uint8_t *bits, sluice_error *err);

#endif
