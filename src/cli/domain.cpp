#include "cli/domain.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "cli/pictures.h"

namespace graft::cli {

namespace {

constexpr const char *kAuto = "auto", *kTexts = "text";

/// Throws Error kMismatch if there are folders with files that are no class.
void refuse_other_folders(const std::filesystem::path& root, const std::vector<std::string>& classes) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    const auto name = entry.path().filename().string();
    const bool looked_at = entry.is_directory() && !name.starts_with('.');
    if (looked_at && std::ranges::find(classes, name) == classes.end() && !list_images({entry.path()}).empty())
      names.push_back("\"" + name + "\"");
  }
  if (names.empty()) return;
  std::ranges::sort(names);
  throw Error(ErrorCode::kMismatch, root.string() + ": expected folders for the " + std::to_string(classes.size()) +
                                        " known classes only, found " + CLI::detail::join(names, ", ") + " as well");
}

}  // namespace

void add_domain(CLI::App& app, DomainFlags& flags) {
  app.add_option("--domain", flags.domain,
                 "image or text: what the data are; auto: what the model takes, and to learn from pictures in folders, "
                 "texts in a file")
      ->check(CLI::IsMember({kAuto, "image", kTexts}))
      ->capture_default_str();
  app.add_option("--text-column", flags.text_column, "the column of a CSV file that holds the texts")
      ->capture_default_str();
  app.add_option("--label-column", flags.label_column, "the column that holds their classes")->capture_default_str();
}

bool holds_texts(const DomainFlags& flags, const std::string& path) {
  std::error_code ignored;
  return flags.domain == kAuto ? std::filesystem::is_regular_file(path, ignored) : flags.domain == kTexts;
}

bool holds_texts(const DomainFlags& flags, const Model& model) {
  const bool texts = takes_text(model.input());
  if (flags.domain != kAuto && (flags.domain == kTexts) != texts)
    throw Error(ErrorCode::kConfig, "--domain " + flags.domain + ": the model takes " + (texts ? "texts" : "pictures"));
  return texts;
}

void check_domain(const Model& model, bool texts) {
  if (takes_text(model.input()) == texts) return;
  throw Error(ErrorCode::kMismatch, texts ? "expected a model that takes texts, found one that takes pictures"
                                          : "this model takes texts: give --domain text, found pictures to learn from");
}

std::unique_ptr<TextDataset> open_texts(const std::string& path, const DomainFlags& flags, TextOptions options) {
  options.text_column = flags.text_column;
  options.label_column = flags.label_column;
  auto texts = std::make_unique<TextDataset>(path, options);
  std::error_code ignored;
  if (!options.classes.empty() && std::filesystem::is_directory(path, ignored))
    refuse_other_folders(path, options.classes);
  return texts;
}

std::unique_ptr<ImageFolder> open_pictures(const std::string& path, const ImageFolderOptions& options,
                                           const Common& common) {
  auto folder = std::make_unique<ImageFolder>(path, options);
  for (const auto& file : folder->stray_files()) note(common, "left out: " + file.string() + ": in no class's folder");
  if (!options.classes.empty()) refuse_other_folders(path, options.classes);
  return folder;
}

void set_decoding(Dataset& data, bool reduced, const Model& model) {
  auto* folder = dynamic_cast<ImageFolder*>(&data);
  // A part of a picture needs more of it.
  if (!folder || takes_text(model.input()) || folder->augment().random_resized_crop) return;
  folder->set_decode_options(decode_options(reduced, model.preprocessing()));
}

std::unique_ptr<Dataset> open_unlabelled(const std::vector<std::string>& paths, const DomainFlags& flags,
                                         const std::string& on_bad_image, bool reduced_decoding, const Model& model) {
  if (holds_texts(flags, model))
    return std::make_unique<TextDataset>(
        TextDataset::unlabelled({paths.begin(), paths.end()}, {.text_column = flags.text_column}));
  auto pictures = std::make_unique<Pictures>(paths, parse_on_bad_image(on_bad_image));
  pictures->set_decode_options(decode_options(reduced_decoding, model.preprocessing()));
  return pictures;
}

}  // namespace graft::cli
