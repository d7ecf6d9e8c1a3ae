/// Picture files without labels, for the loader.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <graft/dataset.h>

namespace graft::cli {

class Pictures : public Dataset {
 public:
  Pictures(const std::vector<std::string>& paths, OnBadImage on_bad)
      : files_(list_images({paths.begin(), paths.end()})), on_bad_(on_bad) {
    if (files_.empty()) throw Error(ErrorCode::kMismatch, "no pictures there: " + paths.front());
  }

  std::size_t size() const override { return files_.size(); }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::int64_t label(std::size_t) const override { return 0; }
  Image image(std::size_t i) const override { return Image::read(files_[i], decode_); }
  std::string name(std::size_t i) const override { return files_[i].string(); }
  OnBadImage on_bad_image() const override { return on_bad_; }
  void set_decode_options(const DecodeOptions& options) { decode_ = options; }

 private:
  std::vector<std::filesystem::path> files_;
  OnBadImage on_bad_;
  DecodeOptions decode_;
  std::vector<std::string> classes_{"picture"};
};

}  // namespace graft::cli
