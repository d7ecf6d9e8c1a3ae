// An output pixel's inputs under one row of the kernel are one run of bytes in a picture that is stored channels last.
// Runs are cut into chunks of at most 64 bytes; a tile is up to 16 pixels of an output row, so that its chunk is a
// matrix with a constant distance from row to row. That is what AMX loads (Intel's Optimization Reference Manual,
// "Intel AMX": 2 x 2 blocking), and what vpdpbusd wants broadcast four bytes at a time. Padding is written around a
// copy of those rows that a thread works on.

#include "engine/eight_bit_convolution.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/cpu/Utils.h>

#include <graft/error.h>

#include "base/parallel.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>
#define GRAFT_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define GRAFT_AMX __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,amx-tile,amx-int8")))
#define GRAFT_EIGHT_BIT_KERNELS 1
#else
#define GRAFT_EIGHT_BIT_KERNELS 0
#endif

namespace graft::engine {

namespace {

constexpr std::int64_t kLanes = 16;      ///< outputs of a block, and most pixels of a tile
constexpr std::int64_t kChunk = 64;      ///< most bytes of a run that are multiplied at a time
constexpr std::int64_t kMostBlocks = 4;  ///< that are computed together
constexpr std::int64_t kTiles = 2;       ///< the same for tiles
/// Bytes of the picture that a thread goes over again and again, for one block of outputs after the other.
constexpr std::int64_t kBandBytes = std::int64_t{256} << 10;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

/// A convolution of pictures of one size, as a matrix of output pixels.
struct EightBitConvolution::Job {
  const std::uint8_t* input = nullptr;
  std::uint8_t* output = nullptr;
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

#if GRAFT_EIGHT_BIT_KERNELS

namespace {

/// Sums of a block, for each pixel of the tiles.
using Sums = std::int32_t[kTiles * kLanes][kLanes];

/// What a kernel multiplies.
struct Operands {
  std::array<const std::uint8_t*, kTiles> tiles;  ///< first pixel of each
  std::int64_t count, pixels;                     ///< of tiles, and of pixels in each
  std::int64_t distance;                          ///< bytes from pixel to pixel
  const std::int8_t* weights;                     ///< of the first block
  std::int64_t block;                             ///< bytes from block to block
  const std::int64_t* steps;
  std::int64_t step_count, chunk;
};

/// `Pixels` pixels and `Blocks` blocks.
template <int Pixels, int Blocks>
GRAFT_AVX512 void multiply_vnni(const Operands& o, const std::uint8_t* first, std::int64_t pixel, Sums* sums) {
  __m512i sum[Pixels][Blocks];
  for (int p = 0; p < Pixels; ++p)
    for (int b = 0; b < Blocks; ++b) sum[p][b] = _mm512_setzero_si512();
  const auto* weights = o.weights;
  for (std::int64_t step = 0; step < o.step_count; ++step) {
    const auto* from = first + o.steps[step];
    for (std::int64_t k = 0; k < o.chunk; k += 4, weights += 4 * kLanes) {
      __m512i w[Blocks];
      for (int b = 0; b < Blocks; ++b) w[b] = _mm512_load_si512(weights + b * o.block);
      for (int p = 0; p < Pixels; ++p) {
        std::int32_t four = 0;
        std::memcpy(&four, from + p * o.distance + k, 4);
        const auto x = _mm512_set1_epi32(four);
        for (int b = 0; b < Blocks; ++b) sum[p][b] = _mm512_dpbusd_epi32(sum[p][b], x, w[b]);
      }
    }
  }
  for (int p = 0; p < Pixels; ++p)
    for (int b = 0; b < Blocks; ++b) _mm512_store_si512(sums[b][pixel + p], sum[p][b]);
}

template <int Blocks>
void multiply_vnni(const Operands& o, Sums* sums) {
  using Kernel = void (*)(const Operands&, const std::uint8_t*, std::int64_t, Sums*);
  static constexpr std::array<Kernel, 6> kKernels{multiply_vnni<1, Blocks>, multiply_vnni<2, Blocks>,
                                                  multiply_vnni<3, Blocks>, multiply_vnni<4, Blocks>,
                                                  multiply_vnni<5, Blocks>, multiply_vnni<6, Blocks>};
  const auto most = static_cast<std::int64_t>(kKernels.size()), parts = ceil_div(o.pixels, most);
  for (std::int64_t t = 0; t < o.count; ++t) {
    for (std::int64_t part = 0, begin = 0; part < parts; ++part) {
      const auto end = o.pixels * (part + 1) / parts;
      kKernels[static_cast<std::size_t>(end - begin - 1)](o, o.tiles[static_cast<std::size_t>(t)] + begin * o.distance,
                                                          t * kLanes + begin, sums);
      begin = end;
    }
  }
}

/// Blocks four, two and one at a time.
void multiply_vnni(const Operands& all, std::int64_t blocks, Sums* sums) {
  Operands o = all;
  while (blocks > 0) {
    const std::int64_t some = blocks >= 4 ? 4 : blocks >= 2 ? 2 : 1;
    (some == 4 ? multiply_vnni<4> : some == 2 ? multiply_vnni<2> : multiply_vnni<1>)(o, sums);
    o.weights += some * o.block;
    sums += some;
    blocks -= some;
  }
}

/// AMX's eight tile registers: four of sums, two of pixels, two of weights.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1, start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t bytes[16] = {};
  std::uint8_t rows[16] = {};
};

GRAFT_AMX void set_shapes(std::int64_t pixels, std::int64_t chunk) {
  TileShapes shapes;
  for (std::size_t i = 0; i < 8; ++i) {
    const bool is_pixels = i == 4 || i == 5, is_weights = i > 5;
    shapes.bytes[i] = static_cast<std::uint16_t>(is_pixels ? chunk : 64);
    shapes.rows[i] = static_cast<std::uint8_t>(is_weights ? chunk / 4 : pixels);
  }
  asm volatile("" : : "r"(&shapes) : "memory");  // GCC takes the instruction to read eight bytes of it
  _tile_loadconfig(&shapes);
}

GRAFT_AMX void release_tiles() { _tile_release(); }

template <bool TwoTiles, bool TwoBlocks>
GRAFT_AMX void multiply_amx(const Operands& o, Sums* sums) {
  asm volatile("" : : : "memory");  // nor does it know that tiles are loaded from memory
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  const auto* weights = o.weights;
  for (std::int64_t step = 0; step < o.step_count; ++step, weights += o.chunk * kLanes) {
    _tile_loadd(4, o.tiles[0] + o.steps[step], o.distance);
    _tile_loadd(6, weights, 4 * kLanes);
    _tile_dpbusd(0, 4, 6);
    if constexpr (TwoBlocks) {
      _tile_loadd(7, weights + o.block, 4 * kLanes);
      _tile_dpbusd(1, 4, 7);
    }
    if constexpr (TwoTiles) {
      _tile_loadd(5, o.tiles[1] + o.steps[step], o.distance);
      _tile_dpbusd(2, 5, 6);
      if constexpr (TwoBlocks) _tile_dpbusd(3, 5, 7);
    }
  }
  _tile_stored(0, sums[0][0], 4 * kLanes);
  if constexpr (TwoBlocks) _tile_stored(1, sums[1][0], 4 * kLanes);
  if constexpr (TwoTiles) {
    _tile_stored(2, sums[0][kLanes], 4 * kLanes);
    if constexpr (TwoBlocks) _tile_stored(3, sums[1][kLanes], 4 * kLanes);
  }
}

/// Of one or two blocks.
void multiply_amx(const Operands& o, std::int64_t blocks, Sums* sums) {
  const auto multiply = o.count == 2 ? (blocks == 2 ? multiply_amx<true, true> : multiply_amx<true, false>)
                                     : (blocks == 2 ? multiply_amx<false, true> : multiply_amx<false, false>);
  multiply(o, sums);
}

/// What becomes of a pixel's sums.
struct Finish {
  const float *scale, *bias;
  float sum_scale;
  std::int32_t lowest;
  bool with_relu;
};

/// Sixteen outputs of `count` pixels, `size` outputs from each other.
template <bool ToBytes, bool Adds>
GRAFT_AVX512 void finish(const std::int32_t (*sums)[kLanes], std::int64_t count, std::uint8_t* output,
                         std::int64_t size, __mmask16 lanes, const Finish& f) {
  const auto scale = _mm512_loadu_ps(f.scale), bias = _mm512_loadu_ps(f.bias), added = _mm512_set1_ps(f.sum_scale);
  const auto most = _mm512_set1_ps(255), none = _mm512_set1_ps(f.with_relu ? 0 : -INFINITY);
  const auto lowest = _mm512_set1_epi32(f.lowest);
  for (std::int64_t p = 0; p < count; ++p, output += ToBytes ? size : 4 * size) {
    auto value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums[p])), scale, bias);
    if constexpr (ToBytes) {
      if constexpr (Adds) {
        const auto stored = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes, output));
        value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(stored), added, value);
      }
      const auto rounded = _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_min_ps(value, most)), lowest);
      _mm_mask_storeu_epi8(output, lanes, _mm512_cvtusepi32_epi8(rounded));
    } else {
      _mm512_mask_storeu_ps(output, lanes, _mm512_max_ps(value, none));
    }
  }
}

bool has_amx_int8() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kTile = 1U << 24, kInt8 = 1U << 25;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kTile) != 0 && (d & kInt8) != 0 && at::cpu::init_amx();
}

}  // namespace

EightBitConvolution::Arithmetic EightBitConvolution::best() {
  static const Arithmetic found = !at::cpu::is_avx512_vnni_supported() ? Arithmetic::kNone
                                  : has_amx_int8()                     ? Arithmetic::kAmx
                                                                       : Arithmetic::kVnni;
  return found;
}

/// What one thread does at a time: some of the pixels, for some of the outputs.
class EightBitConvolution::Band {
 public:
  Band(const EightBitConvolution& convolution, const Job& job, std::int64_t first_unit, std::int64_t end_unit)
      : c_(convolution),
        job_(job),
        weights_(convolution.weights_.const_data_ptr<std::int8_t>()),
        scale_(convolution.scale_.const_data_ptr<float>()),
        bias_(convolution.bias_.const_data_ptr<float>()) {
    const auto first = first_unit * job.unit, end = end_unit * job.unit;
    if (job.is_copied) copy_rows(row_of(first), row_of(end - 1) + 1, job.copies + at::get_thread_num() * job.copy);
    for (auto tile = first; tile < end; ++tile) tiles_.push_back(tile_at(tile, row_of(first)));
  }

  void run(std::int64_t first_block, std::int64_t end_block) const {
    const bool amx = c_.arithmetic_ == Arithmetic::kAmx;
    const std::int64_t most = amx ? 2 : kMostBlocks;
    if (amx) set_shapes(job_.tile, c_.chunk_);
    for (auto block = first_block; block < end_block; block += most)
      for (std::int64_t tile = 0; tile < std::ssize(tiles_); tile += kTiles)
        run(block, std::min(most, end_block - block), &tiles_[static_cast<std::size_t>(tile)],
            std::min(kTiles, std::ssize(tiles_) - tile));
    if (amx) release_tiles();
  }

 private:
  struct Tile {
    const std::uint8_t* pixels;  ///< that are read for the first of its outputs
    std::int64_t done;           ///< of its outputs, which the tile before it has
    std::int64_t output;         ///< the pixel behind those
  };

  void run(std::int64_t block, std::int64_t blocks, const Tile* tiles, std::int64_t count) const {
    alignas(64) Sums sums[kMostBlocks];
    Operands o{{},       count, job_.tile,         c_.stride_[1] * c_.inputs_,
               nullptr,  0,     job_.steps.data(), std::ssize(job_.steps),
               c_.chunk_};
    for (std::int64_t t = 0; t < count; ++t) o.tiles[static_cast<std::size_t>(t)] = tiles[t].pixels;
    o.block = o.step_count * o.chunk * kLanes;
    o.weights = weights_ + block * o.block;
    if (c_.arithmetic_ == Arithmetic::kAmx) {
      multiply_amx(o, blocks, sums);
    } else {
      multiply_vnni(o, blocks, sums);
    }
    for (std::int64_t t = 0; t < count; ++t) finish_tile(tiles[t], t, block, blocks, sums);
  }

  std::int64_t row_of(std::int64_t tile) const { return tile / job_.tiles_of_row; }
  /// A row's last tile reaches back to be as long as the others.
  Tile tile_at(std::int64_t tile, std::int64_t first_row) const {
    const auto row = row_of(tile), wanted = (tile - row * job_.tiles_of_row) * job_.tile;
    const auto column = std::min(wanted, job_.columns - job_.tile);
    const auto* line = job_.is_copied ? lines_[static_cast<std::size_t>(row - first_row)] : line_of(row);
    return {line + column * c_.stride_[1] * c_.inputs_, wanted - column, row * job_.columns + wanted};
  }

  const std::uint8_t* line_of(std::int64_t row) const {
    const auto picture = row / job_.rows_of_picture, y = row % job_.rows_of_picture;
    return job_.input + (picture * job_.height + y * c_.stride_[0]) * job_.line;
  }

  void finish_tile(const Tile& tile, std::int64_t place, std::int64_t block, std::int64_t blocks,
                   const Sums* sums) const {
    const auto kernel = !c_.to_bytes_ ? finish<false, false> : c_.adds_ ? finish<true, true> : finish<true, false>;
    const std::int64_t bytes = c_.to_bytes_ ? 1 : 4;
    for (std::int64_t b = 0; b < blocks; ++b) {
      const auto first = (block + b) * kLanes, lanes = std::min(kLanes, c_.outputs_ - first);
      const Finish f{scale_ + first, bias_ + first, c_.sum_scale_, c_.lowest_, c_.with_relu_};
      kernel(sums[b] + place * kLanes + tile.done, job_.tile - tile.done,
             job_.output + (tile.output * c_.outputs_ + first) * bytes, c_.outputs_,
             static_cast<__mmask16>((1U << lanes) - 1), f);
    }
  }

  /// The rows of the pictures that these output rows look at, with the padding that lies around them.
  void copy_rows(std::int64_t first, std::int64_t end, std::uint8_t* to) {
    const auto reach = (c_.kernel_[0] - 1) * c_.dilation_[0] + 1;
    std::int64_t next = 0;  // row of a picture, with padding, that comes next
    for (auto row = first; row < end; ++row) {
      const auto picture = row / job_.rows_of_picture, y = row % job_.rows_of_picture * c_.stride_[0];
      if (row == first || y == 0) next = y;
      for (next = std::max(next, y); next < y + reach; ++next, to += job_.line) copy_row(picture, next, to);
      lines_.push_back(to - (next - y) * job_.line);
    }
  }
  void copy_row(std::int64_t picture, std::int64_t padded_row, std::uint8_t* to) const {
    const auto y = padded_row - c_.padding_[0], left = c_.padding_[1] * c_.inputs_;
    const auto bytes = std::clamp<std::int64_t>(job_.line - left, 0, job_.width * c_.inputs_);
    const bool is_outside = y < 0 || y >= job_.height;
    if (is_outside || bytes + left < job_.line || left > 0)
      std::memset(to, c_.input_zero_, static_cast<std::size_t>(job_.line));
    if (is_outside) return;
    const auto* from = job_.input + (picture * job_.height + y) * job_.width * c_.inputs_;
    std::memcpy(to + std::min(left, job_.line), from, static_cast<std::size_t>(bytes));
  }

  const EightBitConvolution& c_;
  const Job& job_;
  const std::int8_t* weights_;
  const float *scale_, *bias_;
  std::vector<Tile> tiles_;
  std::vector<const std::uint8_t*> lines_;  ///< where each output row's input begins, if it is a copy
};

EightBitConvolution::EightBitConvolution(const QuantizedConvolution& c, Arithmetic arithmetic)
    : arithmetic_(arithmetic),
      inputs_(c.weight.values.size(1)),
      outputs_(c.weight.values.size(0)),
      blocks_(ceil_div(outputs_, kLanes)),
      kernel_{c.weight.values.size(2), c.weight.values.size(3)},
      stride_(c.stride),
      padding_(c.padding),
      dilation_(c.dilation),
      to_bytes_(c.output.has_value()),
      adds_(c.sum.has_value()),
      with_relu_(c.with_relu),
      input_zero_(static_cast<std::uint8_t>(c.input.zero_point)) {
  pack(c.weight.values);
  Scale input = c.input;
  const auto bias = absorb_zero_point(input, c.weight, c.bias);
  const auto output = c.output.value_or(Scale());
  auto shift = bias.defined() ? bias.to(at::kDouble) / output.scale : at::zeros({outputs_}, at::kDouble);
  shift = shift + output.zero_point;
  if (c.sum) {
    sum_scale_ = static_cast<float>(c.sum->scale / output.scale);
    shift = shift - static_cast<double>(c.sum->zero_point) * c.sum->scale / output.scale;
  }
  lowest_ = static_cast<std::int32_t>(c.with_relu ? output.zero_point : 0);
  const auto padded = [&](const at::Tensor& x) {
    return at::constant_pad_nd(x, {0, blocks_ * kLanes - outputs_}).to(at::kFloat).contiguous();
  };
  scale_ = padded(c.weight.scales.to(at::kDouble) * (c.input.scale / output.scale));
  bias_ = padded(shift);
}

void EightBitConvolution::pack(const at::Tensor& values) {
  const bool in_one_run = dilation_[1] == 1;
  run_ = in_one_run ? kernel_[1] * inputs_ : inputs_;
  chunks_ = ceil_div(run_, kChunk);
  chunk_ = ceil_div(ceil_div(run_, chunks_), 4) * 4;
  const auto runs = values.permute({0, 2, 3, 1}).reshape({outputs_, -1, run_});
  const auto whole = at::constant_pad_nd(runs, {0, chunks_ * chunk_ - run_, 0, 0, 0, blocks_ * kLanes - outputs_});
  weights_ = whole.reshape({blocks_, kLanes, -1, chunk_ / 4, 4}).permute({0, 2, 3, 1, 4}).contiguous();
}

EightBitConvolution::Job EightBitConvolution::job_for(const at::Tensor& input, const at::Tensor& output) const {
  Job job;
  job.input = input.const_data_ptr<std::uint8_t>();
  job.output = static_cast<std::uint8_t*>(output.mutable_data_ptr());
  job.height = input.size(2);
  job.width = input.size(3);
  job.rows_of_picture = output.size(2);
  job.rows = output.size(0) * output.size(2);
  job.columns = output.size(3);
  job.is_copied = padding_[0] > 0 || padding_[1] > 0 || chunks_ * chunk_ != run_;
  job.line =
      (job.is_copied ? (job.columns - 1) * stride_[1] + (kernel_[1] - 1) * dilation_[1] + 1 : job.width) * inputs_;
  const bool is_flat = !job.is_copied && kernel_[0] == 1 && kernel_[1] == 1 && stride_[0] == 1 && stride_[1] == 1;
  if (is_flat) {  // one long row
    job.columns *= job.rows;
    job.rows = job.rows_of_picture = 1;
  }
  job.tiles_of_row = ceil_div(job.columns, kLanes);
  job.tile = ceil_div(job.columns, job.tiles_of_row);
  job.tiles_of_row = ceil_div(job.columns, job.tile);
  job.unit = is_flat ? 1 : job.tiles_of_row;
  job.units = job.rows * job.tiles_of_row / job.unit;
  for (std::int64_t y = 0; y < kernel_[0]; ++y)
    for (std::int64_t x = 0; x < (dilation_[1] == 1 ? 1 : kernel_[1]); ++x)
      for (std::int64_t chunk = 0; chunk < chunks_; ++chunk)
        job.steps.push_back(y * dilation_[0] * job.line + x * dilation_[1] * inputs_ + chunk * chunk_);
  return job;
}

/// Pixels first; the outputs are shared out as well where there are few pixels.
void EightBitConvolution::share_out(Job& job, std::int64_t input_bytes) const {
  const std::int64_t threads = at::get_num_threads(), sets = ceil_div(blocks_, kMostBlocks);
  job.bands = std::min(job.units, ceil_div(input_bytes, kBandBytes));
  if (job.units >= 4 * threads) {
    job.bands = std::min(job.units, ceil_div(job.bands, threads) * threads);
  } else {
    job.groups = std::min(sets, threads);
    job.bands = std::min(job.units, std::max(job.bands, ceil_div(threads, job.groups)));
  }
}

at::Tensor EightBitConvolution::run(const at::Tensor& given, const at::Tensor& sum) const {
  const auto input = given.contiguous(at::MemoryFormat::ChannelsLast);
  std::vector<std::int64_t> size{given.size(0), outputs_};
  for (std::size_t d = 0; d < 2; ++d)
    size.push_back(
        (given.size(static_cast<std::int64_t>(d) + 2) + 2 * padding_[d] - dilation_[d] * (kernel_[d] - 1) - 1) /
            stride_[d] +
        1);
  if (given.size(1) != inputs_ || size[2] < 1 || size[3] < 1 || (sum.defined() && sum.sizes() != at::IntArrayRef(size)))
    throw Error(ErrorCode::kMismatch, c10::str("a convolution of ", inputs_, " channels refuses ", given.sizes()));
  const auto output = sum.defined() ? sum
                                    : at::empty(size, given.options().dtype(to_bytes_ ? at::kByte : at::kFloat),
                                                at::MemoryFormat::ChannelsLast);
  if (output.numel() == 0) return output;
  auto job = job_for(input, output);
  share_out(job, input.numel());
  at::Tensor copies;
  if (job.is_copied) {
    const auto rows = ceil_div(job.units, job.bands), reach = (kernel_[0] - 1) * dilation_[0] + 1;
    job.copy = (rows * stride_[0] + (rows / job.rows_of_picture + 2) * reach) * job.line + kChunk;
    copies = at::empty({at::get_num_threads(), job.copy}, given.options());
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

#else

EightBitConvolution::Arithmetic EightBitConvolution::best() { return Arithmetic::kNone; }
EightBitConvolution::EightBitConvolution(const QuantizedConvolution&, Arithmetic) {}
at::Tensor EightBitConvolution::run(const at::Tensor&, const at::Tensor&) const { return {}; }

#endif

}  // namespace graft::engine
