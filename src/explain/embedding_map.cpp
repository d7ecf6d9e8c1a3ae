#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include <graft/embeddings.h>
#include <graft/error.h>

#include "base/base64.h"
#include "base/check.h"
#include "base/text.h"
#include "base/translate.h"
#include "image/canvas.h"

namespace graft {

namespace {

using image::Colour;

constexpr int kFramePx = 3;
constexpr int kLegendLinePx = 24;

/// Told apart also without red or green (Okabe and Ito 2008, "Color Universal Design").
constexpr std::array<Colour, 8> kPalette{{{0, 114, 178},
                                          {230, 159, 0},
                                          {0, 158, 115},
                                          {204, 121, 167},
                                          {213, 94, 0},
                                          {86, 180, 233},
                                          {240, 228, 66},
                                          {0, 0, 0}}};

/// Where a thumbnail's upper left corner is, without its frame.
struct Place {
  int left, top;
};

void check(const at::Tensor& coordinates, std::span<const MapPicture> pictures, const MapOptions& options) {
  constexpr int kMostPx = 16'384;
  const auto size = [](int px, int least, const char* what) {
    base::require(px >= least && px <= kMostPx, std::string("map: ") + what,
                  std::to_string(least) + " to " + std::to_string(kMostPx), px);
  };
  size(options.thumbnail_px, 4, "thumbnail_px");
  size(options.width_px, options.thumbnail_px + 2 * kFramePx, "width_px");
  size(options.height_px, options.thumbnail_px + 2 * kFramePx, "height_px");
  if (pictures.empty() || !coordinates.defined() || coordinates.dim() != 2 || coordinates.size(1) != 2 ||
      coordinates.size(0) != std::ssize(pictures))
    throw Error(ErrorCode::kMismatch,
                "map: expected coordinates [N, 2] for N >= 1 pictures, found " +
                    (coordinates.defined() ? c10::str(coordinates.sizes()) : std::string("an undefined tensor")) +
                    " for " + std::to_string(pictures.size()));
  if (!coordinates.isfinite().all().item<bool>())
    throw Error(ErrorCode::kNumeric, "map: expected finite coordinates, found others");
}

/// All of them within the map, both directions to one scale, in the middle.
std::vector<Place> places_of(const at::Tensor& coordinates, const MapOptions& options) {
  const auto points = coordinates.detach().to(at::kCPU).to(at::kDouble);
  const auto low = points.amin(0), extent = points.amax(0) - low;
  const int room_x = options.width_px - options.thumbnail_px - 2 * kFramePx;
  const int room_y = options.height_px - options.thumbnail_px - 2 * kFramePx;
  const double across = extent[0].item<double>(), up = extent[1].item<double>();
  double scale = 0;  // of points that all lie together
  if (across > 0 || up > 0) scale = std::min(across > 0 ? room_x / across : HUGE_VAL, up > 0 ? room_y / up : HUGE_VAL);
  const auto middle = low + extent / 2;
  std::vector<Place> places;
  for (std::int64_t i = 0; i < points.size(0); ++i) {
    const auto away = (points[i] - middle) * scale;
    places.push_back({kFramePx + static_cast<int>(std::lround(room_x / 2.0 + away[0].item<double>())),
                      kFramePx + static_cast<int>(std::lround(room_y / 2.0 - away[1].item<double>()))});
  }
  return places;
}

Image thumbnail(const Image& image, int side_px) { return image.resize_shorter(side_px).center_crop(side_px, side_px); }

/// The groups in the order of their names.
std::vector<std::string> groups_of(std::span<const MapPicture> pictures) {
  std::vector<std::string> groups;
  for (const auto& picture : pictures) groups.push_back(picture.group);
  std::ranges::sort(groups);
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
  return groups;
}

const Colour& colour_of(const std::string& group, const std::vector<std::string>& groups) {
  const auto at = std::ranges::lower_bound(groups, group) - groups.begin();
  return kPalette[static_cast<std::size_t>(at) % kPalette.size()];
}

std::string hex(const Colour& colour) {
  char text[8];
  std::snprintf(text, sizeof text, "#%02x%02x%02x", colour[0], colour[1], colour[2]);
  return text;
}

std::string attributes(std::initializer_list<std::pair<const char*, int>> values) {
  std::string text;
  for (const auto& [name, value] : values) text += std::string(" ") + name + "=\"" + std::to_string(value) + "\"";
  return text;
}

}  // namespace

Image draw_map(const at::Tensor& coordinates, std::span<const MapPicture> pictures, const MapOptions& options) {
  return base::translated("drawing a map", [&] {
    check(coordinates, pictures, options);
    const auto places = places_of(coordinates, options);
    const auto groups = groups_of(pictures);
    image::Canvas canvas(options.width_px, options.height_px);
    for (std::size_t i = 0; i < pictures.size(); ++i) {
      const auto [left, top] = places[i];
      const int framed = options.thumbnail_px + 2 * kFramePx;
      canvas.fill({left - kFramePx, top - kFramePx, framed, framed}, colour_of(pictures[i].group, groups));
      canvas.put(left, top, thumbnail(pictures[i].image, options.thumbnail_px));
    }
    return std::move(canvas).image();
  });
}

std::string draw_map_svg(const at::Tensor& coordinates, std::span<const MapPicture> pictures,
                         const MapOptions& options) {
  return base::translated("drawing a map", [&] {
    check(coordinates, pictures, options);
    const auto places = places_of(coordinates, options);
    const auto groups = groups_of(pictures);
    const bool legend = groups.size() > 1;
    const int height = options.height_px + (legend ? kLegendLinePx * (static_cast<int>(groups.size()) + 1) : 0);
    const int side = options.thumbnail_px;
    std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\"" +
                      attributes({{"width", options.width_px}, {"height", height}}) + " viewBox=\"0 0 " +
                      std::to_string(options.width_px) + " " + std::to_string(height) +
                      "\" font-family=\"sans-serif\" font-size=\"16\">\n<title>Pictures by their features</title>\n"
                      "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
    for (std::size_t i = 0; i < pictures.size(); ++i) {
      const auto& picture = pictures[i];
      const auto jpeg = thumbnail(picture.image, side).encode_jpeg(80);
      const std::string name = picture.group.empty() ? picture.name : picture.name + " (" + picture.group + ")";
      svg += "<g><title>" + base::escaped(name) + "</title><rect" +
             attributes({{"x", places[i].left - kFramePx},
                         {"y", places[i].top - kFramePx},
                         {"width", side + 2 * kFramePx},
                         {"height", side + 2 * kFramePx}}) +
             " fill=\"" + hex(colour_of(picture.group, groups)) + "\"/><image" +
             attributes({{"x", places[i].left}, {"y", places[i].top}, {"width", side}, {"height", side}}) +
             " href=\"data:image/jpeg;base64," + base::base64(jpeg) + "\"/></g>\n";
    }
    for (std::size_t i = 0; legend && i < groups.size(); ++i) {
      const int top = options.height_px + kLegendLinePx / 2 + static_cast<int>(i) * kLegendLinePx;
      svg += "<rect" + attributes({{"x", kFramePx}, {"y", top}, {"width", 16}, {"height", 16}}) + " fill=\"" +
             hex(colour_of(groups[i], groups)) + "\"/><text" + attributes({{"x", 28}, {"y", top + 14}}) + ">" +
             base::escaped(groups[i]) + "</text>\n";
    }
    return svg + "</svg>\n";
  });
}

}  // namespace graft
