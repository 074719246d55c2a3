// The parts of a mixture for one token, float32: gate, critic, bridge and experts. Plain C interface, one pointer to a
// struct of 8-byte fields each. Formulas and names as in camoe/routing/gate.py, camoe/economy/critic.py,
// camoe/model/bridge.py and camoe/model/experts.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "functions_cpu.h"
#include "row_cpu.h"

namespace {

using Row = std::vector<float>;

// A layer y = W x + b with W [outputs,inputs].
struct Layer {
  const float *weight, *bias;
};

Row apply(const Layer& layer, const float* x, int64_t inputs, int64_t outputs, int64_t threads) {
  Row y(outputs);
  product(whole(layer.weight, outputs, inputs), x, layer.bias, y.data(), threads);
  return y;
}

void gelu(Row& row) {
  for (float& x : row) x = gelu(x);
}

// numbers = numbers / their sum, after e^(x - the largest).
void softmax(float* numbers, int64_t n) {
  const float largest = *std::max_element(numbers, numbers + n);
  for (int64_t i = 0; i < n; ++i) numbers[i] = exponential(numbers[i] - largest);
  const float scale = 1.0f / sum(numbers, n);
  for (int64_t i = 0; i < n; ++i) numbers[i] *= scale;
}

// weight_in [E*hidden,C], weight_out [E,hidden]; with a sigmoid at the end or not.
struct GateToken {
  int64_t width, experts, hidden, squash, threads;
  const float* h;
  Layer in;
  const float *weight_out, *bias_out;
  float* logits;  // [E]
};

// The `winning` highest of the bids, the lower index of equal ones first, NaN above all; the price is the next, or 0.
// Weights: softmax of the winners' scores; of a single winner, its share in the softmax of all.
struct ElectToken {
  int64_t experts, winning, threads;
  const float *bids, *scores;  // [E]
  int64_t* winners;            // [K]
  float *weights, *price;      // [K], [1]
};

// feature: [F,C] with its norm; heads: [hidden,F], then [1,hidden] and [E,hidden].
struct CriticToken {
  int64_t width, features, hidden, experts, is_signed, threads;
  double eps, least;
  const float* h;
  Layer feature, norm, difficulty_in, difficulty_out, affinity_in, affinity_out;
  float *difficulty, *affinity;  // [1], [E]
};

// compress [2C,2C], to_low [rows,2C].
struct BridgeToken {
  int64_t width, rows, threads;
  double readout_eps, feature_eps;
  const float *h, *readout;
  Layer readout_norm;
  const float* compress;
  Layer feature_norm;
  const float* to_low;
  float* low;  // [rows]
};

// ratio [C] or null; key [hidden,C], value [C,hidden].
struct FeedForwardToken {
  int64_t width, hidden, threads;
  const float *h, *previous, *ratio, *key, *value;
  float* out;  // [C]
};

// C = heads * size, P rows of rank r. gram [r,r], cross [P,r], energy [P]; factors of keys [C,r+P], of values [C,r+P]
// and of their bias [C]; rows of matrices begin `..._stride` entries apart, entries of the bias too.
struct PrefixToken {
  int64_t width, size, rows, rank, gram_stride, cross_stride, key_stride, value_stride, bias_stride, threads;
  double eps;
  const float *h, *low, *gram, *cross, *energy;
  const float *query, *key, *value, *value_bias, *output;
  Layer gate;
  float* out;  // [C]
};

// 1 / deviation of every row of the prefix.
Row inverse_deviations(const PrefixToken& p) {
  Row inverse(p.rows), through(p.rank);
  for (int64_t row = 0; row < p.rows; ++row) {
    const float *low = p.low + row * p.rank, *cross = p.cross + row * p.cross_stride;
    product_from_left(low, {p.gram, p.rank, p.rank, p.gram_stride}, nullptr, through.data());
    for (int64_t i = 0; i < p.rank; ++i) through[i] += 2.0f * cross[i];
    const float variance = dot(low, through.data(), p.rank) + p.energy[row];
    inverse[row] = 1.0f / std::sqrt(std::max(variance, float(p.eps)));
  }
  return inverse;
}

// Attended values of one head from its query [D], by way of the coefficients over the prefix map's basis.
void attend(const PrefixToken& p, const Row& inverse, const float* query, int64_t first, float* out) {
  const int64_t basis = p.rank + p.rows;
  Row projected(basis), coefficients(basis);
  float *scores = coefficients.data() + p.rank, *mixed = coefficients.data();
  product_from_left(query, {p.key + first * p.key_stride, p.size, basis, p.key_stride}, nullptr, projected.data());
  product(whole(p.low, p.rows, p.rank), projected.data(), projected.data() + p.rank, scores);
  for (int64_t row = 0; row < p.rows; ++row) scores[row] *= inverse[row];
  softmax(scores, p.rows);
  for (int64_t row = 0; row < p.rows; ++row) scores[row] *= inverse[row];
  product_from_left(scores, whole(p.low, p.rows, p.rank), nullptr, mixed);
  product({p.value + first * p.value_stride, p.size, basis, p.value_stride}, coefficients.data(), nullptr, out);
  for (int64_t i = 0; i < p.size; ++i) out[i] += p.value_bias[(first + i) * p.bias_stride];
}

}  // namespace

extern "C" {

void gate_token(const GateToken* p) {
  Row hidden = apply(p->in, p->h, p->width, p->experts * p->hidden, p->threads);
  gelu(hidden);
  for (int64_t e = 0; e < p->experts; ++e) {
    const int64_t at = e * p->hidden;
    const float confidence = dot(p->weight_out + at, hidden.data() + at, p->hidden) + p->bias_out[e];
    p->logits[e] = p->squash ? sigmoid(confidence) : confidence;
  }
}

void elect_token(const ElectToken* p) {
  std::vector<int64_t> order(p->experts);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) {
    const float a = p->bids[i], b = p->bids[j];
    return std::isnan(a) ? !std::isnan(b) : a > b;
  });
  std::copy_n(order.begin(), p->winning, p->winners);
  *p->price = p->winning < p->experts ? p->bids[order[p->winning]] : 0.0f;
  Row scores(p->scores, p->scores + p->experts);
  if (p->winning > 1)
    for (int64_t k = 0; k < p->winning; ++k) scores[k] = p->scores[order[k]];
  softmax(scores.data(), p->winning > 1 ? p->winning : p->experts);
  for (int64_t k = 0; k < p->winning; ++k) p->weights[k] = scores[p->winning > 1 ? k : order[0]];
}

void critic_token(const CriticToken* p) {
  Row feature = apply(p->feature, p->h, p->width, p->features, p->threads);
  layer_norm(feature.data(), p->features, p->norm.weight, p->norm.bias, float(p->eps), feature.data());
  gelu(feature);
  const auto head = [&](const Layer& in, const Layer& out, int64_t outputs, float* to) {
    Row hidden = apply(in, feature.data(), p->features, p->hidden, p->threads);
    gelu(hidden);
    product(whole(out.weight, outputs, p->hidden), hidden.data(), out.bias, to);
  };
  head(p->affinity_in, p->affinity_out, p->experts, p->affinity);
  head(p->difficulty_in, p->difficulty_out, 1, p->difficulty);
  if (p->is_signed) return;
  const float x = *p->difficulty;
  *p->difficulty = (x > 20.0f ? x : std::log1p(std::exp(x))) + float(p->least);
}

void bridge_token(const BridgeToken* p) {
  Row joined(2 * p->width);
  std::copy_n(p->h, p->width, joined.data());
  const Layer &readout = p->readout_norm, &norm = p->feature_norm;
  layer_norm(p->readout, p->width, readout.weight, readout.bias, float(p->readout_eps), joined.data() + p->width);
  Row feature = apply({p->compress, nullptr}, joined.data(), 2 * p->width, 2 * p->width, p->threads);
  layer_norm(feature.data(), 2 * p->width, norm.weight, norm.bias, float(p->feature_eps), feature.data());
  gelu(feature);
  product(whole(p->to_low, p->rows, 2 * p->width), feature.data(), nullptr, p->low, p->threads);
}

void feed_forward_token(const FeedForwardToken* p) {
  Row mixed(p->h, p->h + p->width);
  if (p->ratio)
    for (int64_t i = 0; i < p->width; ++i) mixed[i] += (p->previous[i] - mixed[i]) * p->ratio[i];
  Row hidden = apply({p->key, nullptr}, mixed.data(), p->width, p->hidden, p->threads);
  for (float& x : hidden) x = x < 0.0f ? 0.0f : x * x;
  product(whole(p->value, p->width, p->hidden), hidden.data(), nullptr, p->out, p->threads);
}

void prefix_token(const PrefixToken* p) {
  const Row query = apply({p->query, nullptr}, p->h, p->width, p->width, p->threads);
  const Row inverse = inverse_deviations(*p);
  Row attended(p->width);
  for (int64_t at = 0; at < p->width; at += p->size) attend(*p, inverse, query.data() + at, at, attended.data() + at);
  const Row gate = apply(p->gate, p->h, p->width, p->width, p->threads);
  product(whole(p->output, p->width, p->width), attended.data(), nullptr, p->out, p->threads);
  for (int64_t i = 0; i < p->width; ++i) p->out[i] *= sigmoid(gate[i]);
}
}
