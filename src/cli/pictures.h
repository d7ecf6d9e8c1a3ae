/// Picture files without labels, and their features.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cli/common.h"

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
  const std::filesystem::path& path(std::size_t i) const { return files_[i]; }
  void set_decode_options(const DecodeOptions& options) { decode_ = options; }

 private:
  std::vector<std::filesystem::path> files_;
  OnBadImage on_bad_;
  DecodeOptions decode_;
  std::vector<std::string> classes_{"picture"};
};

/// The positional argument of commands that work on pictures, or on what the model takes.
void add_pictures(CLI::App& app, std::vector<std::string>& paths);
void add_pictures_or_texts(CLI::App& app, std::vector<std::string>& paths);

/// A row of a sheet: the picture as evaluation sees it, then as the first epochs of training do.
std::vector<Image> augmented_row(const Image& picture, const Preprocessing& preprocessing, const Augment& augment,
                                 std::uint64_t seed, std::uint64_t index, int columns);

/// How pictures are embedded.
struct EmbedOptions {
  std::string layer;
  std::int64_t batch = 32;
  bool reduced_decoding = false;
};
/// --layer, --batch, --reduced-decoding.
void add_embed_options(CLI::App& app, EmbedOptions& options);

struct Embedded {
  at::Tensor features;                ///< [N, C]
  std::vector<std::size_t> pictures;  ///< which picture each row is of: all, but for those that could not be read
  std::vector<BadImage> bad_images;   ///< those
};
/// Model::embed for all of them, with progress; those left out are noted. Throws Error kMismatch if none is left.
Embedded embed(const Model& model, const Dataset& data, const EmbedOptions& options, const Common& common,
               Progress& progress);
/// The same, decoded as the options say.
Embedded embed(const Model& model, Pictures& pictures, const EmbedOptions& options, const Common& common,
               Progress& progress);

}  // namespace graft::cli
