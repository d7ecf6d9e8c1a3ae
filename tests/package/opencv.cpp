// opencv_consumer MODEL PICTURE: a picture by way of OpenCV, there and back, from a region with gaps between its rows.
#include <cstdio>

#include <graft/graft.h>
#include <graft/opencv.h>
#include <opencv2/core.hpp>

int main(int, char** argv) {
  const auto picture = graft::Image::read(argv[2]);
  const cv::Mat bgr = graft::to_mat(picture, graft::ChannelOrder::kBgr);
  cv::Mat wider(bgr.rows, bgr.cols + 7, bgr.type());
  cv::Mat region = wider(cv::Rect(3, 0, bgr.cols, bgr.rows));
  bgr.copyTo(region);
  const auto back = graft::from_mat(region, graft::ChannelOrder::kBgr);
  const auto top = graft::Model::load(argv[1]).classify(back, {.top_k = 1});
  std::string refused;
  try {
    graft::from_mat(cv::Mat(2, 2, CV_32FC3), graft::ChannelOrder::kBgr);
  } catch (const graft::Error& error) {
    refused = error.what();
  }
  std::printf("%s, %s; %s\n", back == picture ? "same" : "other", top.front().id.c_str(), refused.c_str());
}
