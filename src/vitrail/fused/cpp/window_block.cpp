// A block whose groups are closed, no token attends to another group: queries, keys and values,
// attention, projection, sum, perceptron, sum; with a norm before or after each branch. It goes
// through a few groups at a time, whose numbers stay in the core's own cache from first to last.
#include "../../attention/cpp/call.h"
#include "linear.h"

using namespace vitrail;

// A tile is some groups that follow one another, and the tokens in them. Linear layers and
// attention are described for one tile, but for their tensors and numbers of rows.
struct Block {
    i64 tiles, groups, together, most, threads;  // groups in all and of a tile; most rows of one
    const int32_t *rows, *count;                  // (tiles, most): tokens; and how many there are
    const void* x;
    void* y;
    Call attention;  // its indices count the rows of a tile
};

namespace {

thread_local Scratch scratch;

// A norm of what a branch returns stands with its last layer; it is done by itself, and the sum.
struct Branch {
    Linear last, after;
    explicit Branch(Linear layer) : last(layer), after(layer) {
        last.norm_weight = nullptr;
        after.inputs = after.x_step = layer.outputs;
    }
    // Call run(last), which is to write what is added to `x`; `free` is as large.
    template <class Run>
    void add_to(char* x, char* free, i64 rows, LinearFunction norm, Run&& run) {
        last.rows = after.rows = rows;
        last.y = after.norm_weight ? free : x;
        last.add = after.norm_weight ? nullptr : x;  // a register tile reads it before it writes there
        run(last);
        if (!after.norm_weight) return;
        after.x = free, after.add = after.y = x;
        norm(&after);
    }
};

void tile(const Block& f, Linear qkv, Linear proj, Linear first, Linear second, i64 s,
           LinearFunction linear, void (*perceptron)(const Linear*, const Linear*), LinearFunction norm,
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

    qkv.rows = first.rows = n;
    qkv.x = x, qkv.y = wide;
    linear(&qkv);
    call.q_index = call.k_index = call.q_index + at;
    if (call.q_region) call.q_region = call.k_region = call.q_region + at;
    call.qkv = wide, call.out = mixed;
    call.lse = (float*)(mixed + f.most * row);
    attend(&call);
    proj.x = mixed, first.x = x;
    Branch(proj).add_to(x, wide, n, norm, [&](const Linear& last) { linear(&last); });
    Branch(second).add_to(x, wide, n, norm, [&](const Linear& last) { perceptron(&first, &last); });

    for (i64 i = 0; i < n; i++) memcpy((char*)f.y + rows[i] * row, x + i * row, row);
}

}  // namespace

// Indices are those of `WindowTiles` and need no check.
extern "C" void vitrail_block(const Block* f, const Linear* qkv, const Linear* proj,
                              const Linear* first, const Linear* second,
                              LinearFunction linear, void (*perceptron)(const Linear*, const Linear*),
                              LinearFunction norm, int (*attend)(const Call*)) {
#pragma omp parallel for num_threads(f->threads) schedule(dynamic) if (f->tiles > 1)
    for (i64 s = 0; s < f->tiles; s++)
        tile(*f, *qkv, *proj, *first, *second, s, linear, perceptron, norm, attend);
}
