#include "cli/report_pictures.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "cli/pictures.h"

namespace graft::cli {

namespace {

constexpr int kLongestSidePx = 256, kCellPx = 128;
constexpr std::size_t kRows = 4;
constexpr int kColumns = 8, kQuality = 85;

/// A copy whose longer side is at most this.
Image shrunk(const Image& picture, int side_px) {
  const double factor = static_cast<double>(side_px) / std::max(picture.width_px(), picture.height_px());
  if (factor >= 1) return picture;
  const auto scaled = [&](int side) { return std::max(1, static_cast<int>(side * factor)); };
  return picture.resize(scaled(picture.width_px()), scaled(picture.height_px()));
}

ReportPicture jpeg(const Image& picture, const std::string& caption, const std::string& description) {
  return {picture.encode_jpeg(kQuality), caption, description};
}

/// Nothing for one that cannot be read.
std::optional<Image> read(const Dataset& data, std::size_t index) {
  try {
    return data.image(index);
  } catch (const Error&) {  // the data set's policy is the fit's business
    return std::nullopt;
  }
}

}  // namespace

std::optional<ReportPicture> augmentation_sheet(const Dataset& data, const Preprocessing& preprocessing,
                                                std::uint64_t seed) {
  if (!data.augment().enabled()) return std::nullopt;
  std::vector<Image> cells;
  const auto rows = std::min(data.size(), kRows);
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t index = row * data.size() / rows;  // spread over all classes
    const auto picture = read(data, index);
    if (!picture) continue;
    for (const auto& cell : augmented_row(*picture, preprocessing, data.augment(), seed, index, kColumns))
      cells.push_back(shrunk(cell, kCellPx));
  }
  if (cells.empty()) return std::nullopt;
  return jpeg(
      contact_sheet(cells, kColumns),
      "Training pictures. First column: as evaluation sees them. The others: as the first epochs of training do.",
      "A sheet of training pictures and of their augmented copies");
}

void illustrate(ReportExample& example, const Model& model, const Image& picture) {
  example.picture = jpeg(shrunk(picture, kLongestSidePx), "", "The picture");
  try {
    const auto heat = grad_cam(model, picture);
    example.heat_map = jpeg(overlay(picture, heat.values, model.preprocessing(), {.longest_side_px = kLongestSidePx}),
                            "", "Heat map (Grad-CAM) for " + heat.explained.label);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kMismatch) throw;
  }
}

}  // namespace graft::cli
