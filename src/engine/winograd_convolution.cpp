#include "engine/winograd_convolution.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <graft/error.h>

#include "base/parallel.h"
#include "engine/arena.h"
#include "engine/winograd_kernels.h"

namespace graft::engine {

using winograd::kOutputs;
using winograd::kPanel;
using winograd::kPoints;

namespace {

/// Inputs whose weights are transformed and multiplied at a time.
constexpr std::int64_t kChunkInputs = 64;
/// Bytes of tiles, and of transformed weights that stay beside fewer tiles, that a core's cache has room for.
constexpr std::int64_t kTileBytes = std::int64_t{5} << 18, kStayingWeights = std::int64_t{3} << 18;
/// Fewest tiles at a time: transforming the weights takes as long as multiplying seven tiles by them.
constexpr std::int64_t kFewestAtATime = 28;
/// With less of either it is not faster (docs/performance.md).
constexpr std::int64_t kFewestChannels = 16, kFewestTiles = 9;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Floats in a chunk's transformed weights.
std::int64_t chunk_size(std::int64_t inputs) {
  return ceil_div(std::min(kChunkInputs, inputs), winograd::kGroup) * winograd::kGroupSize;
}

}  // namespace

/// A convolution of pictures of one size.
struct WinogradConvolution::Job {
  const float* input = nullptr;
  float* output = nullptr;
  bool adds = false;
  std::int64_t height = 0, width = 0;  ///< of a picture that goes in
  std::int64_t rows = 0, columns = 0;  ///< of one that comes out
  std::int64_t tile_rows = 0, tile_columns = 0, tiles = 0;
  std::int64_t bands = 1, groups = 1;  ///< how tiles and panels are shared out
  std::int64_t block = 0;              ///< most tiles at a time
  bool keeps_weights = false;          ///< a thread's transformed weights stay from block to block
  std::int64_t point = 0;              ///< numbers of a tile at a point
};

/// What one thread does: some of the tiles, for some of the panels.
class WinogradConvolution::Worker {
 public:
  Worker(const WinogradConvolution& convolution, const Job& job, std::int64_t first_panel, std::int64_t end_panel)
      : c_(convolution), job_(job), first_panel_(first_panel), end_panel_(end_panel) {
    const auto chunks = job.keeps_weights ? (end_panel - first_panel) * c_.chunks_ : 1;
    const auto tiles = job.block * kPoints * job.point, weights = chunks * chunk_size(c_.inputs_),
               sums = job.block * kPoints * kPanel, patch = kPoints * c_.inputs_;
    memory_ = Arena::scratch((tiles + weights + sums + patch) * std::int64_t{sizeof(float)});
    tiles_ = static_cast<float*>(memory_.mutable_data_ptr());
    weights_ = tiles_ + tiles;
    sums_ = weights_ + weights;
    patch_ = sums_ + sums;
  }

  void run(std::int64_t first, std::int64_t end) {
    const auto blocks = ceil_div(end - first, job_.block);
    for (std::int64_t i = 0; i < blocks; ++i)
      run_block(first + (end - first) * i / blocks, first + (end - first) * (i + 1) / blocks, i == 0);
  }

 private:
  /// Where a tile lies: in which picture, and at which pixel of its result.
  struct Place {
    std::int64_t picture, y, x;
  };

  void run_block(std::int64_t first, std::int64_t end, bool is_first) {
    for (auto tile = first; tile < end; ++tile)
      transform(place_of(tile), tiles_ + (tile - first) * kPoints * job_.point);
    for (auto panel = first_panel_; panel < end_panel_; ++panel) {
      for (std::int64_t chunk = 0; chunk < c_.chunks_; ++chunk) multiply(panel, chunk, end - first, is_first);
      for (auto tile = first; tile < end; ++tile)
        finish(place_of(tile), panel, sums_ + (tile - first) * kPanel, (end - first) * kPanel);
    }
  }

  Place place_of(std::int64_t tile) const {
    const auto row = tile / job_.tile_columns, column = tile % job_.tile_columns;
    return {row / job_.tile_rows, row % job_.tile_rows * kOutputs, column * kOutputs};
  }

  void transform(const Place& place, float* to) {
    const auto y = place.y - c_.padding_[0], x = place.x - c_.padding_[1], pixel = c_.inputs_;
    const auto* picture = job_.input + place.picture * job_.height * job_.width * pixel;
    if (y >= 0 && x >= 0 && y + winograd::kInputs <= job_.height && x + winograd::kInputs <= job_.width) {
      winograd::transform_pixels(picture + (y * job_.width + x) * pixel, {job_.width * pixel, pixel}, pixel, to,
                                 job_.point);
    } else {
      copy_patch(picture, y, x);
      winograd::transform_pixels(patch_, {winograd::kInputs * pixel, pixel}, pixel, to, job_.point);
    }
  }

  /// What a tile depends on, with zeros around the picture.
  void copy_patch(const float* picture, std::int64_t y, std::int64_t x) {
    constexpr auto kSide = winograd::kInputs;
    const auto pixel = c_.inputs_;
    const auto bytes = [&](std::int64_t pixels) { return static_cast<std::size_t>(pixels * pixel) * sizeof(float); };
    const auto left = std::clamp<std::int64_t>(-x, 0, kSide), right = std::clamp(job_.width - x, left, kSide);
    std::memset(patch_, 0, bytes(kPoints));
    for (auto row = std::max<std::int64_t>(0, -y); row < std::min(kSide, job_.height - y); ++row)
      std::memcpy(patch_ + (row * kSide + left) * pixel, picture + ((y + row) * job_.width + x + left) * pixel,
                  bytes(right - left));
  }

  void multiply(std::int64_t panel, std::int64_t chunk, std::int64_t count, bool is_first) {
    const auto channel = chunk * kChunkInputs, channels = std::min(kChunkInputs, c_.inputs_ - channel);
    const auto kept = job_.keeps_weights ? (panel - first_panel_) * c_.chunks_ + chunk : 0;
    auto* weights = weights_ + kept * chunk_size(c_.inputs_);
    if (is_first || !job_.keeps_weights)
      winograd::transform_weights(
          c_.weights_.const_data_ptr<float>() + (panel * c_.inputs_ + channel) * winograd::kWeights * kPanel, channels,
          weights);
    winograd::multiply(
        {tiles_ + channel, kPoints * job_.point, job_.point, weights, sums_, count, channels, chunk > 0});
  }

  void finish(const Place& place, std::int64_t panel, const float* sums, std::int64_t point) {
    const winograd::PixelStrides to{job_.columns * c_.outputs_, c_.outputs_};
    const winograd::Finish f{point,
                             std::min(kOutputs, job_.rows - place.y),
                             std::min(kOutputs, job_.columns - place.x),
                             to,
                             job_.adds,
                             c_.with_relu_};
    const auto channel = panel * kPanel, channels = std::min(kPanel, c_.outputs_ - channel);
    auto* pixels = job_.output + (place.picture * job_.rows + place.y) * to.row + place.x * to.pixel + channel;
    for (std::int64_t i = 0; i < channels; i += winograd::kLanes)
      winograd::transform_sums(sums + i, c_.bias_.const_data_ptr<float>() + channel + i,
                               std::min(winograd::kLanes, channels - i), pixels + i, f);
  }

  const WinogradConvolution& c_;
  const Job& job_;
  const std::int64_t first_panel_, end_panel_;
  at::Tensor memory_;
  float *tiles_, *weights_, *sums_, *patch_;
};

bool WinogradConvolution::suits(const at::Tensor& weight, const Geometry& g,
                                const std::vector<std::int64_t>& input_size) {
  const auto is_one = [](const std::vector<std::int64_t>& values) {
    return std::ranges::all_of(values, [](auto v) { return v == 1; });
  };
  const bool takes = winograd::is_available() && weight.dim() == 4 && weight.scalar_type() == at::kFloat &&
                     weight.size(2) == 3 && weight.size(3) == 3 && g.groups == 1 && is_one(g.stride) &&
                     is_one(g.dilation);
  if (!takes || weight.size(0) < kFewestChannels || weight.size(1) < kFewestChannels) return false;
  if (input_size.size() != 4) return true;
  const auto tiles = [&](std::size_t d) { return ceil_div(input_size[d] + 2 * g.padding[d - 2] - 2, kOutputs); };
  return input_size[0] * tiles(2) * tiles(3) >= kFewestTiles;
}

WinogradConvolution::WinogradConvolution(const FloatConvolution& c)
    : inputs_(c.weight.size(1)),
      outputs_(c.weight.size(0)),
      panels_(ceil_div(outputs_, kPanel)),
      chunks_(ceil_div(inputs_, kChunkInputs)),
      padding_(c.geometry.padding),
      with_relu_(c.geometry.with_relu) {
  const auto more = panels_ * kPanel - outputs_;
  const auto whole = more == 0 ? c.weight : at::constant_pad_nd(c.weight, {0, 0, 0, 0, 0, 0, 0, more});
  weights_ = whole.reshape({panels_, kPanel, inputs_, winograd::kWeights}).permute({0, 2, 3, 1}).contiguous();
  bias_ = at::constant_pad_nd(c.bias.defined() ? c.bias : at::zeros({outputs_}), {0, more}).to(at::kFloat).contiguous();
}

WinogradConvolution::Job WinogradConvolution::job_for(const at::Tensor& input, const at::Tensor& output,
                                                      bool adds) const {
  Job job;
  job.input = input.const_data_ptr<float>();
  job.output = output.mutable_data_ptr<float>();
  job.adds = adds;
  job.height = input.size(2);
  job.width = input.size(3);
  job.rows = output.size(2);
  job.columns = output.size(3);
  job.tile_rows = ceil_div(job.rows, kOutputs);
  job.tile_columns = ceil_div(job.columns, kOutputs);
  job.tiles = output.size(0) * job.tile_rows * job.tile_columns;
  // One more than needed, because what lies a power of two apart shares cache sets.
  job.point = (ceil_div(inputs_, winograd::kLanes) + 1) * winograd::kLanes;
  return job;
}

/// The way that takes a thread the least time, as measured in nanoseconds for each input, and panel.
void WinogradConvolution::share_out(Job& job) const {
  constexpr std::int64_t kTransformTile = 5, kTransformWeights = 94, kMultiply = 13;
  const std::int64_t threads = at::get_num_threads(), bytes = sizeof(float);
  auto least = std::numeric_limits<std::int64_t>::max();
  for (std::int64_t bands = 1; bands <= std::min(threads, job.tiles); ++bands) {
    const auto groups = std::min(panels_, threads / bands);
    const auto tiles = ceil_div(job.tiles, bands), panels = ceil_div(panels_, groups);
    const bool keeps = panels * chunks_ * chunk_size(inputs_) * bytes <= kStayingWeights;
    const auto fit = keeps ? 0 : kTileBytes / (kPoints * (job.point + kPanel) * bytes);
    const auto blocks = ceil_div(tiles, std::max(kFewestAtATime, fit / winograd::kRows * winograd::kRows));
    const auto time = tiles * (kMultiply * panels + kTransformTile) + kTransformWeights * panels * (keeps ? 1 : blocks);
    if (time >= least) continue;
    least = time;
    job.bands = bands;
    job.groups = groups;
    job.keeps_weights = keeps;
    job.block = ceil_div(tiles, blocks);
  }
}

at::Tensor WinogradConvolution::run(const at::Tensor& given, const at::Tensor& sum) const {
  const auto input = given.contiguous(at::MemoryFormat::ChannelsLast);
  const std::vector<std::int64_t> size{given.size(0), outputs_, given.size(2) + 2 * padding_[0] - 2,
                                       given.size(3) + 2 * padding_[1] - 2};
  const bool suits = given.size(1) == inputs_ && given.scalar_type() == at::kFloat && size[2] > 0 && size[3] > 0;
  if (!suits || (sum.defined() && (sum.sizes() != at::IntArrayRef(size) || sum.scalar_type() != at::kFloat)))
    throw Error(ErrorCode::kMismatch, c10::str("a convolution of ", inputs_, " channels of ", at::kFloat, " refuses ",
                                               given.sizes(), " of ", given.scalar_type()));
  if (sum.defined() && !sum.is_contiguous(at::MemoryFormat::ChannelsLast))
    return at::Tensor(sum).copy_(run(given, sum.contiguous(at::MemoryFormat::ChannelsLast)));
  const auto output = sum.defined() ? sum : at::empty(size, given.options(), at::MemoryFormat::ChannelsLast);
  if (output.numel() == 0) return output;
  auto job = job_for(input, output, sum.defined());
  share_out(job);
  std::vector<Worker> workers;
  for (std::int64_t i = 0; i < job.bands * job.groups; ++i) {
    const auto group = i % job.groups;
    workers.emplace_back(*this, job, panels_ * group / job.groups, panels_ * (group + 1) / job.groups);
  }
  base::parallel_for(0, std::ssize(workers), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) {
      const auto band = i / job.groups;
      workers[static_cast<std::size_t>(i)].run(job.tiles * band / job.bands, job.tiles * (band + 1) / job.bands);
    }
  });
  return output;
}

}  // namespace graft::engine
