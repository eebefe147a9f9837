// A branch in which every token attends to a coarser grid: norm, queries; the grid's cells cut out and
// projected, norm, keys and values; attention, projection, sum. Once keys and values are there,
// tokens go through a few at a time, whose numbers stay in the core's own cache to the sum.
#include "../../attention/cpp/call.h"
#include "linear.h"

using namespace vitrail;

// Attention is described for one tile of tokens, but for its tensors and numbers of rows.
struct Reduction {
    i64 batch, length[3], cell[3], threads;  // tokens along each axis, of the map and of a cell
    const void* x;
    void* y;
    void *cut, *grid;  // (batch, cells, tokens of one, dim), (batch, cells, dim); null: no cells
    void* kv;          // (batch, cells or tokens, 2, dim)
    Call attention;
};

namespace {

constexpr i64 CACHE = 384 << 10;  // bytes of a tile's rows, a good third of a core's own cache
constexpr i64 FEWEST = 192;       // rows that make good use of weights beyond that cache
constexpr i64 PER_TILE = 12;     // what a tile costs besides its rows, in rows

thread_local Scratch scratch;

// Normalise every token that a cell takes in, and write it where its cell has it.
void cut(const Reduction& f, Linear part, i64 row, LinearFunction norm) {
    const i64 *n = f.length, *k = f.cell;
    const i64 across[3] = {n[0] / k[0], n[1] / k[1], n[2] / k[2]};
    const i64 runs = f.batch * across[0] * across[1] * across[2] * k[0] * k[1];
    part.x_step = part.y_step = part.inputs;
    part.rows = k[2];
    part.threads = 1;
#pragma omp parallel for num_threads(f.threads) schedule(static) firstprivate(part)
    for (i64 i = 0; i < runs; i++) {  // through cells, and through a cell's first two axes
        i64 rest = i;
        auto next = [&](i64 length) { i64 place = rest % length; rest /= length; return place; };
        const i64 v = next(k[1]), u = next(k[0]);
        const i64 w = next(across[2]) * k[2];
        const i64 h = next(across[1]) * k[1] + v;
        const i64 d = next(across[0]) * k[0] + u;
        part.x = (const char*)f.x + (((rest * n[0] + d) * n[1] + h) * n[2] + w) * row;
        part.y = (char*)f.cut + i * k[2] * row;
        norm(&part);
    }
}

// Rows `from` on of all tokens, `n` of them and of one member of the batch: from norm to sum.
void tile(const Reduction& f, Linear q, Linear proj, i64 member, i64 from, i64 n, i64 row,
           LinearFunction linear, int (*attend)(const Call*)) {
    Call call = f.attention;
    char* wide = (char*)scratch.words(ceil_div(2 * n * row, 4) + call.heads * n + n + call.keys);
    char* mixed = wide + n * row;
    call.lse = (float*)(mixed + n * row);
    int32_t* index = (int32_t*)(call.lse + call.heads * n);
    for (i64 i = 0; i < n + call.keys; i++) index[i] = i;  // cells are counted on from the tokens
    q.rows = proj.rows = n;
    q.x = proj.add = (const char*)f.x + from * row;
    q.y = wide;
    linear(&q);
    call.tokens = call.queries = n;
    call.q_index = index, call.k_index = index + n;
    call.qkv = wide, call.out = mixed;
    call.pooled = (const char*)f.kv + member * call.cells * 2 * row;
    attend(&call);
    proj.x = mixed;
    proj.y = (char*)f.y + from * row;
    linear(&proj);
}

// WindowTiles of each member of the batch: rows fit the cache, and threads get about as much.
i64 tiles_of(const Reduction& f, i64 tokens, i64 row) {
    const i64 fewest = ceil_div(tokens, std::max(FEWEST, CACHE / (4 * row)));
    auto time = [&](i64 count) {
        return ceil_div(f.batch * count, f.threads) * (ceil_div(tokens, count) + PER_TILE);
    };
    i64 best = fewest;
    for (i64 count = fewest; count < fewest + f.threads; count++)
        if (time(count) < time(best)) best = count;
    return best;
}

}  // namespace

// `sr` is the convolution that reduces, or null; its rows are what was cut out.
extern "C" void vitrail_reduction(const Reduction* f, const Linear* q, const Linear* sr,
                                  const Linear* kv, const Linear* proj, LinearFunction linear,
                                  LinearFunction norm, int (*attend)(const Call*)) {
    const i64 tokens = f->length[0] * f->length[1] * f->length[2];
    const i64 row = q->inputs * bytes_of(q->kind);
    Linear seen = *kv, queries = *q, output = *proj;
    seen.rows = f->batch * f->attention.cells;
    seen.x = f->x;
    if (sr) {
        Linear cells = *sr;
        cut(*f, *q, row, norm);
        cells.rows = seen.rows;
        cells.x = f->cut, cells.y = f->grid;
        linear(&cells);
        seen.x = f->grid;
    }
    seen.y = f->kv;
    linear(&seen);
    queries.threads = output.threads = 1;  // a tile each
    const i64 count = tiles_of(*f, tokens, row), length = ceil_div(tokens, count);
#pragma omp parallel for num_threads(f->threads) schedule(dynamic) if (f->batch * count > 1)
    for (i64 i = 0; i < f->batch * count; i++) {
        const i64 member = i / count, first = i % count * length;
        const i64 n = std::min(length, tokens - first);
        if (n > 0) {
            tile(*f, queries, output, member, member * tokens + first, n, row, linear, attend);
        }
    }
}
