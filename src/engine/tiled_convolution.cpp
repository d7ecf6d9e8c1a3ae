// An output pixel's inputs under one row of the kernel are one run of bytes in a picture that is stored channels last.
// Runs are cut into chunks of at most 64 bytes; a tile is up to 16 pixels of an output row, so that its chunk is a
// matrix with a constant distance from row to row. That is what AMX loads, and what vpdpbusd wants broadcast four bytes
// at a time. Padding is written around a copy of those rows that a thread works on.

#include "engine/tiled_convolution.h"

#include <algorithm>
#include <cstring>
#include <string>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <graft/error.h>

#include "base/parallel.h"

namespace graft::engine {

namespace {

/// Weights that stay in a core's cache while pixels come and go; with more of them it is the other way round.
constexpr std::int64_t kWeightBytes = std::int64_t{1} << 20;
/// Bytes of the picture that a thread goes over again and again, for one block of outputs after the other.
constexpr std::int64_t kBandBytes = std::int64_t{256} << 10;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

/// A convolution of pictures of one size, as a matrix of output pixels.
struct TiledConvolution::Job {
  const std::uint8_t* input = nullptr;
  std::uint8_t* output = nullptr;
  std::int64_t output_bytes = 1;  ///< of a number
  FinishKernel finish = nullptr;
  std::int64_t height = 0, width = 0;                       ///< of a picture that goes in
  std::int64_t rows = 0, columns = 0, rows_of_picture = 0;  ///< of the output, all pictures below each other
  std::int64_t tile = 0, tiles_of_row = 0;                  ///< pixels of a tile; tiles of a row
  std::int64_t unit = 0;                                    ///< tiles that stay together
  bool is_copied = false;                                   ///< rows are copied, with padding around them
  std::int64_t line = 0;                                    ///< bytes of a row of what is read
  std::vector<std::int64_t> steps;                          ///< where a pixel's chunks begin
  std::int64_t units = 0, bands = 1, groups = 1;            ///< how pixels and blocks of outputs are shared out
  std::uint8_t* copies = nullptr;                           ///< for each thread
  std::int64_t copy = 0;                                    ///< bytes of one
};

/// What one thread does at a time: some of the pixels, for some of the outputs.
class TiledConvolution::Band {
 public:
  Band(const TiledConvolution& convolution, const Job& job, std::int64_t first_unit, std::int64_t end_unit)
      : c_(convolution),
        job_(job),
        weights_(static_cast<const std::uint8_t*>(convolution.weights_.const_data_ptr())),
        scale_(convolution.scale_.const_data_ptr<float>()),
        bias_(convolution.bias_.const_data_ptr<float>()) {
    const auto first = first_unit * job.unit, end = end_unit * job.unit;
    if (job.is_copied) copy_rows(row_of(first), row_of(end - 1) + 1, job.copies + at::get_thread_num() * job.copy);
    for (auto tile = first; tile < end; ++tile) tiles_.push_back(tile_at(tile, row_of(first)));
  }

  void run(std::int64_t first_block, std::int64_t end_block) const {
    const auto most = c_.kernel_.most_blocks;
    if (c_.kernel_.has_tile_registers) set_tile_shapes(job_.tile, c_.chunk_);
    const auto bytes = (end_block - first_block) * std::ssize(job_.steps) * c_.chunk_ * kLanes;
    const auto together = bytes <= kWeightBytes ? kTiles : std::ssize(tiles_);
    for (std::int64_t first = 0; first < std::ssize(tiles_); first += together)
      for (auto block = first_block; block < end_block; block += most)
        for (auto tile = first; tile < std::min(first + together, std::ssize(tiles_)); tile += kTiles)
          run(block, std::min(most, end_block - block), &tiles_[static_cast<std::size_t>(tile)],
              std::min(kTiles, std::ssize(tiles_) - tile));
    if (c_.kernel_.has_tile_registers) release_tiles();
  }

 private:
  struct Tile {
    const std::uint8_t* pixels;  ///< that are read for the first of its outputs
    std::int64_t done;           ///< of its outputs, which the tile before it has
    std::int64_t output;         ///< the pixel behind those
  };

  void run(std::int64_t block, std::int64_t blocks, const Tile* tiles, std::int64_t count) const {
    alignas(64) Sums sums[kMostBlocks];
    Operands o{{},       count, job_.tile,         c_.stride_[1] * c_.pixel_,
               nullptr,  0,     job_.steps.data(), std::ssize(job_.steps),
               c_.chunk_};
    for (std::int64_t t = 0; t < count; ++t) o.tiles[static_cast<std::size_t>(t)] = tiles[t].pixels;
    o.block = o.step_count * o.chunk * kLanes;
    o.weights = weights_ + block * o.block;
    c_.kernel_.multiply(o, blocks, sums);
    for (std::int64_t t = 0; t < count; ++t) finish_tile(tiles[t], t, block, blocks, sums);
  }

  std::int64_t row_of(std::int64_t tile) const { return tile / job_.tiles_of_row; }
  /// A row's last tile reaches back to be as long as the others.
  Tile tile_at(std::int64_t tile, std::int64_t first_row) const {
    const auto row = row_of(tile), wanted = (tile - row * job_.tiles_of_row) * job_.tile;
    const auto column = std::min(wanted, job_.columns - job_.tile);
    const auto* line = job_.is_copied ? lines_[static_cast<std::size_t>(row - first_row)] : line_of(row);
    return {line + column * c_.stride_[1] * c_.pixel_, wanted - column, row * job_.columns + wanted};
  }

  const std::uint8_t* line_of(std::int64_t row) const {
    const auto picture = row / job_.rows_of_picture, y = row % job_.rows_of_picture;
    return job_.input + (picture * job_.height + y * c_.stride_[0]) * job_.line;
  }

  void finish_tile(const Tile& tile, std::int64_t place, std::int64_t block, std::int64_t blocks,
                   const Sums* sums) const {
    for (std::int64_t b = 0; b < blocks; ++b) {
      const auto first = (block + b) * kLanes, lanes = std::min(kLanes, c_.outputs_ - first);
      const Finish f{scale_ + first, bias_ + first, c_.sum_scale_, c_.lowest_, c_.with_relu_};
      job_.finish(sums[b] + place * kLanes + tile.done, job_.tile - tile.done,
                  job_.output + (tile.output * c_.outputs_ + first) * job_.output_bytes, c_.outputs_,
                  static_cast<std::uint16_t>((1U << lanes) - 1), f);
    }
  }

  /// The rows of the pictures that these output rows look at, with the padding that lies around them.
  void copy_rows(std::int64_t first, std::int64_t end, std::uint8_t* to) {
    const auto reach = (c_.window_[0] - 1) * c_.dilation_[0] + 1;
    std::int64_t next = 0;  // row of a picture, with padding, that comes next
    for (auto row = first; row < end; ++row) {
      const auto picture = row / job_.rows_of_picture, y = row % job_.rows_of_picture * c_.stride_[0];
      if (row == first || y == 0) next = y;
      for (next = std::max(next, y); next < y + reach; ++next, to += job_.line) copy_row(picture, next, to);
      lines_.push_back(to - (next - y) * job_.line);
    }
    std::memset(to, 0, kChunk);  // the last chunk may reach there, and nothing times not-a-number is not nothing
  }
  void copy_row(std::int64_t picture, std::int64_t padded_row, std::uint8_t* to) const {
    const auto y = padded_row - c_.padding_[0], left = c_.padding_[1] * c_.pixel_;
    const auto bytes = std::clamp<std::int64_t>(job_.line - left, 0, job_.width * c_.pixel_);
    const bool is_outside = y < 0 || y >= job_.height;
    if (is_outside || bytes + left < job_.line || left > 0)
      std::memset(to, c_.padding_byte_, static_cast<std::size_t>(job_.line));
    if (is_outside) return;
    const auto* from = job_.input + (picture * job_.height + y) * job_.width * c_.pixel_;
    std::memcpy(to + std::min(left, job_.line), from, static_cast<std::size_t>(bytes));
  }

  const TiledConvolution& c_;
  const Job& job_;
  const std::uint8_t* weights_;
  const float *scale_, *bias_;
  std::vector<Tile> tiles_;
  std::vector<const std::uint8_t*> lines_;  ///< where each output row's input begins, if it is a copy
};

TiledConvolution::TiledConvolution(const Geometry& geometry, const at::Tensor& weight, at::ScalarType output,
                                   const ConvolutionKernel& kernel)
    : kernel_(kernel),
      input_type_(kernel.is_bfloat16 ? at::kBFloat16 : at::kByte),
      output_type_(output),
      inputs_(weight.size(1)),
      outputs_(weight.size(0)),
      blocks_(ceil_div(outputs_, kLanes)),
      pixel_(inputs_ * weight.element_size()),
      window_{weight.size(2), weight.size(3)},
      stride_(geometry.stride),
      padding_(geometry.padding),
      dilation_(geometry.dilation),
      with_relu_(geometry.with_relu) {
  pack(weight);
}

TiledConvolution::TiledConvolution(const QuantizedConvolution& c, const ConvolutionKernel& kernel)
    : TiledConvolution(c.geometry, c.weight.values, c.output ? at::kByte : at::kFloat, kernel) {
  padding_byte_ = static_cast<std::uint8_t>(c.input.zero_point);
  Scale input = c.input;
  const auto bias = absorb_zero_point(input, c.weight, c.bias);
  const auto output = c.output.value_or(Scale());
  auto shift = bias.defined() ? bias.to(at::kDouble) / output.scale : at::zeros({outputs_}, at::kDouble);
  shift = shift + output.zero_point;
  if (c.sum) {
    sum_scale_ = static_cast<float>(c.sum->scale / output.scale);
    shift = shift - static_cast<double>(c.sum->zero_point) * c.sum->scale / output.scale;
  }
  lowest_ = static_cast<std::int32_t>(with_relu_ ? output.zero_point : 0);
  scale_ = for_blocks(c.weight.scales.to(at::kDouble) * (c.input.scale / output.scale));
  bias_ = for_blocks(shift);
}

TiledConvolution::TiledConvolution(const BFloat16Convolution& c)
    : TiledConvolution(c.geometry, c.weight.to(at::kBFloat16), at::kBFloat16,
                       *convolution_kernel(Arithmetic::kAmxBFloat16)) {
  bias_ = for_blocks(c.bias.defined() ? c.bias : at::zeros({outputs_}, at::kFloat));
  scale_ = bias_;  // unused
}

/// Of each output: zero for those that fill up the last block.
at::Tensor TiledConvolution::for_blocks(const at::Tensor& x) const {
  return at::constant_pad_nd(x, {0, blocks_ * kLanes - outputs_}).to(at::kFloat).contiguous();
}

void TiledConvolution::pack(const at::Tensor& values) {
  const bool in_one_run = dilation_[1] == 1;
  const std::int64_t bytes = values.element_size(), run = in_one_run ? window_[1] * inputs_ : inputs_;
  run_ = run * bytes;
  chunks_ = ceil_div(run_, kChunk);
  chunk_ = ceil_div(ceil_div(run_, chunks_), 4) * 4;
  const auto runs = values.permute({0, 2, 3, 1}).reshape({outputs_, -1, run});
  const auto whole =
      at::constant_pad_nd(runs, {0, chunks_ * chunk_ / bytes - run, 0, 0, 0, blocks_ * kLanes - outputs_});
  weights_ = whole.reshape({blocks_, kLanes, -1, chunk_ / 4, 4 / bytes}).permute({0, 2, 3, 1, 4}).contiguous();
}

TiledConvolution::Job TiledConvolution::job_for(const at::Tensor& input, const at::Tensor& output, bool adds) const {
  Job job;
  job.input = static_cast<const std::uint8_t*>(input.const_data_ptr());
  job.output = static_cast<std::uint8_t*>(output.mutable_data_ptr());
  job.output_bytes = output.element_size();
  job.finish = finish_kernel(output_type_, adds);
  job.height = input.size(2);
  job.width = input.size(3);
  job.rows_of_picture = output.size(2);
  job.rows = output.size(0) * output.size(2);
  job.columns = output.size(3);
  job.is_copied = padding_[0] > 0 || padding_[1] > 0 || chunks_ * chunk_ != run_;
  job.line =
      (job.is_copied ? (job.columns - 1) * stride_[1] + (window_[1] - 1) * dilation_[1] + 1 : job.width) * pixel_;
  const bool is_flat = !job.is_copied && window_[0] == 1 && window_[1] == 1 && stride_[0] == 1 && stride_[1] == 1;
  if (is_flat) {  // one long row
    job.columns *= job.rows;
    job.rows = job.rows_of_picture = 1;
  }
  job.tiles_of_row = ceil_div(job.columns, kLanes);
  job.tile = ceil_div(job.columns, job.tiles_of_row);
  job.tiles_of_row = ceil_div(job.columns, job.tile);
  job.unit = is_flat ? 1 : job.tiles_of_row;
  job.units = job.rows * job.tiles_of_row / job.unit;
  for (std::int64_t y = 0; y < window_[0]; ++y)
    for (std::int64_t x = 0; x < (dilation_[1] == 1 ? 1 : window_[1]); ++x)
      for (std::int64_t chunk = 0; chunk < chunks_; ++chunk)
        job.steps.push_back(y * dilation_[0] * job.line + x * dilation_[1] * pixel_ + chunk * chunk_);
  return job;
}

/// Pixels first; the outputs are shared out as well where there are few pixels.
void TiledConvolution::share_out(Job& job, std::int64_t input_bytes) const {
  const std::int64_t threads = at::get_num_threads(), sets = ceil_div(blocks_, kMostBlocks);
  job.bands = std::min(job.units, ceil_div(input_bytes, kBandBytes));
  if (job.units >= 4 * threads) {
    job.bands = std::min(job.units, ceil_div(job.bands, threads) * threads);
  } else {
    job.groups = std::min(sets, threads);
    job.bands = std::min(job.units, std::max(job.bands, ceil_div(threads, job.groups)));
  }
}

at::Tensor TiledConvolution::run(const at::Tensor& given, const at::Tensor& sum) const {
  const auto input = given.contiguous(at::MemoryFormat::ChannelsLast);
  std::vector<std::int64_t> size{given.size(0), outputs_};
  for (std::size_t d = 0; d < 2; ++d)
    size.push_back(
        (given.size(static_cast<std::int64_t>(d) + 2) + 2 * padding_[d] - dilation_[d] * (window_[d] - 1) - 1) /
            stride_[d] +
        1);
  const bool suits = given.size(1) == inputs_ && given.scalar_type() == input_type_ && size[2] > 0 && size[3] > 0;
  if (!suits || (sum.defined() && (sum.sizes() != at::IntArrayRef(size) || sum.scalar_type() != output_type_)))
    throw Error(ErrorCode::kMismatch, c10::str("a convolution of ", inputs_, " channels of ", input_type_, " refuses ",
                                               given.sizes(), " of ", given.scalar_type()));
  if (sum.defined() && !sum.is_contiguous(at::MemoryFormat::ChannelsLast))
    return at::Tensor(sum).copy_(run(given, sum.contiguous(at::MemoryFormat::ChannelsLast)));
  const auto output =
      sum.defined() ? sum : at::empty(size, given.options().dtype(output_type_), at::MemoryFormat::ChannelsLast);
  if (output.numel() == 0) return output;
  auto job = job_for(input, output, sum.defined());
  share_out(job, static_cast<std::int64_t>(input.nbytes()));
  at::Tensor copies;
  if (job.is_copied) {
    const auto rows = ceil_div(job.units, job.bands), reach = (window_[0] - 1) * dilation_[0] + 1;
    job.copy = (rows * stride_[0] + (rows / job.rows_of_picture + 2) * reach) * job.line + kChunk;
    copies = at::empty({at::get_num_threads(), job.copy}, given.options().dtype(at::kByte));
    job.copies = copies.mutable_data_ptr<std::uint8_t>();
  }
  base::parallel_for(0, job.bands * job.groups, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) {
      const auto band = i / job.groups, group = i % job.groups, sets = ceil_div(blocks_, kMostBlocks);
      const auto first = job.units * band / job.bands, last = job.units * (band + 1) / job.bands;
      Band(*this, job, first, last)
          .run(sets * group / job.groups * kMostBlocks,
               std::min(blocks_, sets * (group + 1) / job.groups * kMostBlocks));
    }
  });
  return output;
}

}  // namespace graft::engine
