// A block whose groups are closed, nobody seeing a token of another group: norm, queries, keys and
// values, attention, projection, sum, norm, perceptron, sum. It goes through a few groups at a time,
// whose numbers stay in the core's own cache from the first norm to the last sum.
#include "../attention/cpp/call.h"
#include "linear.h"

using namespace vitrail;

// A strip is some groups that follow one another, and the tokens in them. What is told of linear
// layers and attention is for one strip, but for their tensors and numbers of rows.
struct Block {
    i64 strips, groups, together, most, threads;  // groups in all and of a strip; most rows of one
    const int32_t *rows, *count;                  // (strips, most): tokens; and how many there are
    const void* x;
    void* y;
    Call attention;  // its indices count the rows of a strip
};

namespace {

thread_local Scratch scratch;

void strip(const Block& f, Linear qkv, Linear proj, Linear first, Linear second, i64 s,
           void (*linear)(const Linear*), void (*perceptron)(const Linear*, const Linear*),
           int (*attend)(const Call*)) {
    const i64 n = f.count[s], row = qkv.inputs * bytes_of(qkv.kind);
    const int32_t* rows = f.rows + s * f.most;
    Call call = f.attention;
    call.tokens = n;
    call.groups = std::min(f.together, f.groups - s * f.together);
    const i64 sums = call.groups * call.heads * call.queries, at = s * f.together * call.queries;
    char* x = (char*)scratch.words((f.most * 5 * row + 3) / 4 + sums);
    char *wide = x + f.most * row, *mixed = wide + f.most * 3 * row;
    for (i64 i = 0; i < n; i++) memcpy(x + i * row, (const char*)f.x + rows[i] * row, row);

    qkv.rows = proj.rows = first.rows = second.rows = n;
    qkv.x = x, qkv.y = wide;
    linear(&qkv);
    call.q_index = call.k_index = call.q_index + at;
    if (call.q_region) call.q_region = call.k_region = call.q_region + at;
    call.qkv = wide, call.out = mixed;
    call.lse = (float*)(mixed + f.most * row);
    attend(&call);
    // A tile reads what it adds to before it writes there.
    proj.x = mixed, proj.add = proj.y = x;
    linear(&proj);
    first.x = second.add = second.y = x;
    perceptron(&first, &second);

    for (i64 i = 0; i < n; i++) memcpy((char*)f.y + rows[i] * row, x + i * row, row);
}

}  // namespace

// Indices are those of `Strips` and need no check.
extern "C" void vitrail_block(const Block* f, const Linear* qkv, const Linear* proj,
                              const Linear* first, const Linear* second,
                              void (*linear)(const Linear*),
                              void (*perceptron)(const Linear*, const Linear*),
                              int (*attend)(const Call*)) {
#pragma omp parallel for num_threads(f->threads) schedule(dynamic) if (f->strips > 1)
    for (i64 s = 0; s < f->strips; s++)
        strip(*f, *qkv, *proj, *first, *second, s, linear, perceptron, attend);
}
