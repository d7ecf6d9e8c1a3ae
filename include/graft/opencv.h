/// cv::Mat in and out. A library of its own, graft::opencv, which find_package(graft COMPONENTS opencv) gives; not part
/// of graft/graft.h. Needs OpenCV's headers.
/// Thread-safety: safe everywhere, as long as nobody writes to the matrix meanwhile.
#pragma once

#include <opencv2/core/mat.hpp>

#include <graft/export.h>
#include <graft/image.h>
#include <graft/preprocess.h>

namespace graft {

/// A copy of OpenCV's picture, height x width, 8 bits a channel, rows from the top:
///   CV_8UC3   three channels in this order; cv::imread and cv::VideoCapture give ChannelOrder::kBgr
///   CV_8UC4   the same and alpha behind them, which is dropped as Image::read drops it (nothing is blended)
///   CV_8UC1   grey, replicated; the order says nothing
/// Rows may lie apart, as those of a region of interest do.
/// Throws Error kConfig for an empty matrix, for other than two dimensions, and for any other type: scale 16-bit and
/// floating-point pixels first (cv::Mat::convertTo), as only you know their range.
GRAFT_EXPORT Image from_mat(const cv::Mat& picture, ChannelOrder order);

/// A CV_8UC3 matrix, height x width, with pixels of its own in this order, without gaps between rows. cv::imshow and
/// cv::imwrite expect ChannelOrder::kBgr. Throws Error kConfig for an empty image, kOutOfMemory.
GRAFT_EXPORT cv::Mat to_mat(const Image& image, ChannelOrder order);

}  // namespace graft
