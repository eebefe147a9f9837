// One call of attention by groups.
#pragma once

#include "vectors.h"

namespace vitrail {

// kernel.py has the same fields in the same order.
struct Call {
    i64 batch, tokens, cells, groups, heads, head_dim, queries, keys, threads;
    int32_t kind, bias_kind;
    float scale, mask_value;
    const char* qkv;
    i64 qkv_step[4];  // numbers between members of the batch, tokens, parts (q, k, v), heads
    const char* pooled;
    i64 pooled_step[4];  // the same, parts being k and v
    const int32_t *q_index, *k_index, *q_region, *k_region;
    const char* bias;
    i64 bias_step[4];  // groups, heads, queries, keys
    const float* logit_scale;
    const char* padding_kv;  // (3, heads, head_dim)
    const float* terms;  // (batch, groups, heads, queries, term_count), of a bias by query
    const int32_t* key_terms;  // (term_axes, keys)
    i64 term_count, term_axes;
    char* out;         // (batch, tokens, heads, head_dim)
    float* lse;        // (batch, groups, heads, queries)
    // What follows is for the backward pass alone; floats are to be added to, and begin at zero.
    const char* grad_out;  // as out
    char *d_qkv, *d_pooled;  // contiguous
    float *d_bias, *d_logit_scale, *d_padding_kv;
    int32_t unique_keys, wants_bias;
};

}  // namespace vitrail
