#include <graft/opencv.h>

#include <new>
#include <string>
#include <utility>
#include <vector>

#include <opencv2/core.hpp>

#include <graft/error.h>

namespace graft {

namespace {

/// Pixels of `channels` bytes each to pixels of three, which begin with the byte `first` and end with the byte `last`.
void copy_row(const std::uint8_t* from, int channels, int first, int middle, int last, std::uint8_t* to, int pixels) {
  for (int x = 0; x < pixels; ++x, from += channels, to += 3) {
    to[0] = from[first];
    to[1] = from[middle];
    to[2] = from[last];
  }
}

std::vector<std::uint8_t> bytes(std::size_t count) {
  try {
    return std::vector<std::uint8_t>(count);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::kOutOfMemory, "picture of OpenCV: " + std::to_string(count) + " bytes");
  }
}

void check_type(const cv::Mat& picture) {
  const auto refuse = [](const std::string& found) {
    throw Error(ErrorCode::kConfig,
                "picture of OpenCV: expected two dimensions of CV_8UC1, CV_8UC3 or CV_8UC4, found " + found);
  };
  if (picture.dims > 2) refuse(std::to_string(picture.dims) + " dimensions");
  if (picture.empty()) refuse("an empty matrix");
  if (picture.depth() != CV_8U || (picture.channels() != 1 && picture.channels() != 3 && picture.channels() != 4))
    refuse(cv::typeToString(picture.type()));
}

}  // namespace

Image from_mat(const cv::Mat& picture, ChannelOrder order) {
  check_type(picture);
  const int channels = picture.channels();
  const int red = channels == 1 || order == ChannelOrder::kRgb ? 0 : 2;
  const int green = channels == 1 ? 0 : 1;
  const int blue = channels == 1 ? 0 : 2 - red;
  const auto row_bytes = static_cast<std::size_t>(picture.cols) * 3;
  auto rgb = bytes(static_cast<std::size_t>(picture.rows) * row_bytes);
  for (int y = 0; y < picture.rows; ++y)
    copy_row(picture.ptr<std::uint8_t>(y), channels, red, green, blue,
             rgb.data() + static_cast<std::size_t>(y) * row_bytes, picture.cols);
  return Image(picture.cols, picture.rows, std::move(rgb));
}

cv::Mat to_mat(const Image& image, ChannelOrder order) {
  if (image.empty())
    throw Error(ErrorCode::kConfig, "picture for OpenCV: expected 1 x 1 or more, found an empty image");
  cv::Mat picture;
  try {
    picture.create(image.height_px(), image.width_px(), CV_8UC3);
  } catch (const cv::Exception& error) {
    throw Error(ErrorCode::kOutOfMemory, std::string("picture for OpenCV: ") + error.what());
  }
  const int first = order == ChannelOrder::kRgb ? 0 : 2;
  const auto row_bytes = static_cast<std::size_t>(picture.cols) * 3;
  for (int y = 0; y < picture.rows; ++y)
    copy_row(image.rgb().data() + static_cast<std::size_t>(y) * row_bytes, 3, first, 1, 2 - first,
             picture.ptr<std::uint8_t>(y), picture.cols);
  return picture;
}

}  // namespace graft
