#include "image/tensor_transform.h"

#include <algorithm>
#include <array>

#include <ATen/ATen.h>

namespace graft::image {

namespace {

/// [1, 3, 1, 1]. Filled on the device: a copy from here could not be recorded (base/cuda_graph.h).
at::Tensor by_channel(const std::array<double, 3>& values, const at::Tensor& beside) {
  const auto tensor = at::empty({1, 3, 1, 1}, beside.options().dtype(at::kFloat));
  for (std::size_t c = 0; c < values.size(); ++c) tensor.select(1, static_cast<std::int64_t>(c)).fill_(values[c]);
  return tensor;
}

/// The numbers of each picture's changes, [N, 1, 1, 1] each, by one copy to the device.
class Table {
 public:
  explicit Table(c10::Device device) : device_(device) {}

  template <class Picture, class Number>
  void add(const std::vector<Picture>& pictures, const Number& number) {
    for (const auto& picture : pictures) values_.push_back(static_cast<double>(number(picture)));
    ++columns_;
  }
  void copy() {
    const auto rows = std::ssize(values_) / columns_;
    const auto here =
        at::empty({columns_, rows, 1, 1, 1}, at::TensorOptions(at::kDouble).pinned_memory(device_.is_cuda()));
    std::ranges::copy(values_, here.mutable_data_ptr<double>());
    there_ = here.to(device_, /*non_blocking=*/true);
  }
  at::Tensor column(std::int64_t index) const { return there_[index]; }

 private:
  c10::Device device_;
  std::vector<double> values_;
  std::int64_t columns_ = 0;
  at::Tensor there_;
};

template <class Has>
bool any(const std::vector<LaterChanges>& changes, const Has& has) {
  return std::ranges::any_of(changes, has);
}

at::Tensor counted(std::int64_t count, const at::Tensor& beside) {
  return at::arange(count, beside.options().dtype(at::kDouble));
}

/// Positions inside [0, n - 1] that are interpolated as `positions` are under the fill mode.
at::Tensor folded(const at::Tensor& positions, std::int64_t n, FillMode mode) {
  const auto last = static_cast<double>(n - 1);
  switch (mode) {
    case FillMode::kNearest:
    case FillMode::kConstant:
      return positions.clamp(0, last);
    case FillMode::kReflect: {  // (d c b a | a b c d | d c b a): half a pixel beyond the last is the turning point
      const auto period = 2 * static_cast<double>(n);
      const auto at = (positions + 0.5).remainder(period);
      return (at::minimum(at, period - at) - 0.5).clamp(0, last);
    }
    case FillMode::kWrap: {  // scipy's has a period of n - 1
      if (n == 1) return at::zeros_like(positions);
      const auto inside = positions.ge(0) & positions.le(last);
      return at::where(inside, positions, positions.remainder(last));
    }
  }
  return positions;
}

/// What grid_sampler takes for pixel numbers, without aligned corners.
at::Tensor as_grid(const at::Tensor& positions, std::int64_t n) {
  return ((positions * 2 + 1) / static_cast<double>(n) - 1).to(at::kFloat);
}

at::Tensor moved(const at::Tensor& values, const std::vector<LaterChanges>& changes, const Augment& augment) {
  const auto height = values.size(2), width = values.size(3);
  Table table(values.device());
  std::vector<Matrix> matrices;
  for (const auto& change : changes)
    matrices.push_back(output_to_input(change.draw, static_cast<int>(width), static_cast<int>(height)));
  constexpr std::size_t kRows = 6;  // of the matrix's nine numbers; the last three are 0, 0, 1
  for (std::size_t i = 0; i < kRows; ++i) table.add(matrices, [i](const Matrix& matrix) { return matrix[i]; });
  table.copy();
  const auto m = [&](std::int64_t i) { return table.column(i).squeeze(3); };
  const auto y = counted(height, values).view({1, height, 1}), x = counted(width, values).view({1, 1, width});
  const auto row = m(0) * y + m(1) * x + m(2), column = m(3) * y + m(4) * x + m(5);
  const auto grid = at::stack({as_grid(folded(column, width, augment.fill_mode), width),
                               as_grid(folded(row, height, augment.fill_mode), height)},
                              3);
  constexpr std::int64_t kBilinear = 0, kBorder = 1;
  const auto sampled = at::grid_sampler(values, grid, kBilinear, kBorder, /*align_corners=*/false);
  if (augment.fill_mode != FillMode::kConstant) return sampled;
  // scipy's "constant" does not blend across the edge.
  const auto outside = row.lt(0) | row.gt(height - 1) | column.lt(0) | column.gt(width - 1);
  return sampled.masked_fill(outside.unsqueeze(1), augment.fill_value);
}

at::Tensor chosen(const at::Tensor& column, const at::Tensor& yes, const at::Tensor& no) {
  return at::where(column.ne(0), yes, no);
}

}  // namespace

at::Tensor normalised(const at::Tensor& pixels, const Preprocessing& p) {
  const auto ordered = p.channels == ChannelOrder::kBgr ? pixels.flip(1) : pixels;
  const auto divisor = at::full({}, static_cast<float>(1 / p.scale), ordered.options().dtype(at::kFloat));
  return ordered.to(at::kFloat)
      .div(divisor)
      .sub_(by_channel(p.mean, pixels))
      .div_(by_channel(p.std, pixels))
      .contiguous(at::MemoryFormat::ChannelsLast);
}

at::Tensor finish_changes(const at::Tensor& pixels, const std::vector<LaterChanges>& changes, const Augment& augment,
                          const Preprocessing& preprocessing) {
  enum Column { kHorizontal, kVertical, kShift, kBrightness, kTop, kBottom, kLeft, kRight };
  Table table(pixels.device());
  table.add(changes, [](const auto& c) { return c.draw.horizontal_flip; });
  table.add(changes, [](const auto& c) { return c.draw.vertical_flip; });
  table.add(changes, [](const auto& c) { return c.draw.channel_shift.value_or(0); });
  table.add(changes, [](const auto& c) { return c.draw.brightness.value_or(1); });
  table.add(changes, [](const auto& c) { return c.erased ? c.erased->top : 0; });
  table.add(changes, [](const auto& c) { return c.erased ? c.erased->top + c.erased->height : 0; });
  table.add(changes, [](const auto& c) { return c.erased ? c.erased->left : 0; });
  table.add(changes, [](const auto& c) { return c.erased ? c.erased->left + c.erased->width : 0; });
  table.copy();

  auto values = pixels.to(at::kFloat);
  if (any(changes, [](const auto& c) { return moves(c.draw); })) values = moved(values, changes, augment);
  if (any(changes, [](const auto& c) { return c.draw.horizontal_flip; }))
    values = chosen(table.column(kHorizontal), values.flip(3), values);
  if (any(changes, [](const auto& c) { return c.draw.vertical_flip; }))
    values = chosen(table.column(kVertical), values.flip(2), values);
  if (any(changes, [](const auto& c) { return c.draw.channel_shift.has_value(); })) {
    const auto low = values.amin({1, 2, 3}, /*keepdim=*/true), high = values.amax({1, 2, 3}, /*keepdim=*/true);
    values = at::minimum(at::maximum(values + table.column(kShift).to(at::kFloat), low), high);
  }
  if (any(changes, [](const auto& c) {
        return c.draw.brightness.has_value();
      }))  // by way of bytes, as Keras does it; Pillow's brightness cuts them off again
    values = (values.clamp(0, 255).trunc() * table.column(kBrightness).to(at::kFloat)).clamp(0, 255).trunc();
  values = normalised(values, preprocessing);
  if (any(changes, [](const auto& c) { return c.erased.has_value(); })) {
    const auto y = counted(values.size(2), values).view({1, 1, -1, 1}), x = counted(values.size(3), values);
    const auto inside =
        y.ge(table.column(kTop)) & y.lt(table.column(kBottom)) & x.ge(table.column(kLeft)) & x.lt(table.column(kRight));
    values.masked_fill_(inside, 0);
  }
  return values;
}

}  // namespace graft::image
