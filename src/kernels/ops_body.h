/* The table of row operations for one instruction set. Included once by each ops_*.c, after that
 * set's v16 header and the definitions of OPS_TABLE, OPS_NAME, GEMM_ROWS and GEMM_BLOCKS. */
#include "kernels/attention_body.h"
#include "kernels/gdn_block_body.h"
#include "kernels/gdn_body.h"
#include "kernels/gemm_body.h"
#include "kernels/hadamard_body.h"
#include "kernels/low_rank_body.h"
#include "kernels/norm_body.h"
#include "kernels/ops.h"
#include "kernels/rowwise_body.h"

const sluice_ops OPS_TABLE = {
    .name = OPS_NAME,
    .rmsnorm = rmsnorm,
    .rmsnorm_gated = rmsnorm_gated,
    .l2norm = l2norm,
    .rope = rope,
    .swiglu = swiglu,
    .sigmoid = sigmoid,
    .gdn_gates = gdn_gates,
    .softmax = softmax,
    .combine = combine,
    .low_rank_in = low_rank_in,
    .low_rank_out = low_rank_out,
    .conv = conv,
    .gemm = gemm,
    .hadamard = hadamard,
    .narrow = narrow,
    .attention = attention,
    .attention_merge = attention_merge,
    .attention_finish = attention_finish,
    .gdn_step = gdn_step,
    .gdn_block = gdn_block,
};
