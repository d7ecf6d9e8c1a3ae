#include <graft/opencv.h>

#include <gtest/gtest.h>
#include <opencv2/core.hpp>

#include "support/expect_error.h"

namespace graft {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes pixels(const Image& image) { return {image.rgb().begin(), image.rgb().end()}; }

/// 2 x 1: one pixel (1, 2, 3), one (4, 5, 6).
const Image& two_pixels() {
  static const Image image(2, 1, {1, 2, 3, 4, 5, 6});
  return image;
}

TEST(FromMat, ThreeChannelsInTheOrderSaid) {
  const cv::Mat mat = (cv::Mat_<cv::Vec3b>(1, 2) << cv::Vec3b(1, 2, 3), cv::Vec3b(4, 5, 6));
  EXPECT_EQ(pixels(from_mat(mat, ChannelOrder::kRgb)), (Bytes{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(pixels(from_mat(mat, ChannelOrder::kBgr)), (Bytes{3, 2, 1, 6, 5, 4}));
}

TEST(FromMat, AlphaIsDropped) {
  const cv::Mat mat(2, 1, CV_8UC4, cv::Scalar(1, 2, 3, 0));
  EXPECT_EQ(pixels(from_mat(mat, ChannelOrder::kRgb)), (Bytes{1, 2, 3, 1, 2, 3}));
  EXPECT_EQ(pixels(from_mat(mat, ChannelOrder::kBgr)), (Bytes{3, 2, 1, 3, 2, 1}));
}

TEST(FromMat, GreyIsReplicated) {
  const cv::Mat mat = (cv::Mat_<std::uint8_t>(2, 1) << 7, 200);
  for (const auto order : {ChannelOrder::kRgb, ChannelOrder::kBgr})
    EXPECT_EQ(pixels(from_mat(mat, order)), (Bytes{7, 7, 7, 200, 200, 200}));
}

TEST(FromMat, RowsOfARegionLieApart) {
  cv::Mat whole(4, 5, CV_8UC3);
  for (int y = 0; y < whole.rows; ++y)
    for (int x = 0; x < whole.cols; ++x)
      whole.at<cv::Vec3b>(y, x) = cv::Vec3b(static_cast<std::uint8_t>(10 * y), static_cast<std::uint8_t>(x), 9);
  const cv::Mat region = whole(cv::Rect(1, 2, 2, 2));
  ASSERT_FALSE(region.isContinuous());
  EXPECT_EQ(pixels(from_mat(region, ChannelOrder::kRgb)), (Bytes{20, 1, 9, 20, 2, 9, 30, 1, 9, 30, 2, 9}));
  EXPECT_EQ(from_mat(region, ChannelOrder::kBgr), from_mat(region.clone(), ChannelOrder::kBgr));
}

TEST(FromMat, TheImageIsACopy) {
  cv::Mat mat(1, 1, CV_8UC3, cv::Scalar(1, 2, 3));
  const auto image = from_mat(mat, ChannelOrder::kRgb);
  mat.setTo(0);
  EXPECT_EQ(pixels(image), (Bytes{1, 2, 3}));
}

TEST(FromMat, OtherMatricesAreRefused) {
  EXPECT_GRAFT_ERROR(from_mat({}, ChannelOrder::kBgr), kConfig, "an empty matrix");
  EXPECT_GRAFT_ERROR(from_mat(cv::Mat(2, 2, CV_16UC3), ChannelOrder::kBgr), kConfig, "found CV_16UC3");
  EXPECT_GRAFT_ERROR(from_mat(cv::Mat(2, 2, CV_32FC1), ChannelOrder::kBgr), kConfig, "found CV_32FC1");
  EXPECT_GRAFT_ERROR(from_mat(cv::Mat(2, 2, CV_8SC3), ChannelOrder::kBgr), kConfig, "found CV_8SC3");
  EXPECT_GRAFT_ERROR(from_mat(cv::Mat(2, 2, CV_8UC2), ChannelOrder::kBgr), kConfig, "found CV_8UC2");
  const int sizes[] = {2, 2, 2};
  EXPECT_GRAFT_ERROR(from_mat(cv::Mat(3, sizes, CV_8U), ChannelOrder::kBgr), kConfig, "found 3 dimensions");
}

TEST(ToMat, InTheOrderSaid) {
  const auto rgb = to_mat(two_pixels(), ChannelOrder::kRgb), bgr = to_mat(two_pixels(), ChannelOrder::kBgr);
  ASSERT_EQ(rgb.type(), CV_8UC3);
  ASSERT_EQ(rgb.size(), cv::Size(2, 1));
  EXPECT_TRUE(rgb.isContinuous());
  EXPECT_EQ(rgb.at<cv::Vec3b>(0, 1), cv::Vec3b(4, 5, 6));
  EXPECT_EQ(bgr.at<cv::Vec3b>(0, 1), cv::Vec3b(6, 5, 4));
}

TEST(ToMat, ThereAndBackIsTheSame) {
  for (const auto order : {ChannelOrder::kRgb, ChannelOrder::kBgr})
    EXPECT_EQ(from_mat(to_mat(two_pixels(), order), order), two_pixels());
}

TEST(ToMat, AnEmptyImageIsRefused) { EXPECT_GRAFT_ERROR(to_mat({}, ChannelOrder::kBgr), kConfig, "an empty image"); }

}  // namespace
}  // namespace graft
