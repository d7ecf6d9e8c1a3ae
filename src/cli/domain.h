/// Pictures or texts: which data a command is given, opened as such.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/common.h"

namespace graft::cli {

/// --domain, --text-column and --label-column.
struct DomainFlags {
  std::string domain = "auto", text_column = "text", label_column = "label";
};
void add_domain(CLI::App& app, DomainFlags& flags);

/// Whether a path to learn from holds texts: as --domain says, or if it says nothing a file and no folder.
bool holds_texts(const DomainFlags& flags, const std::string& path);
/// The same for a command whose model is at hand. Throws Error kConfig if --domain says otherwise.
bool holds_texts(const DomainFlags& flags, const Model& model);

/// Throws Error kMismatch, saying which --domain to give, unless the model takes what the data are.
void check_domain(const Model& model, bool texts);

/// Labelled texts, of the columns that the flags name.
std::unique_ptr<TextDataset> open_texts(const std::string& path, const DomainFlags& flags, TextOptions options);

/// Labelled pictures. Throws Error kMismatch, too, where `options` names the classes and a folder of pictures beside
/// theirs is none of them: ImageFolder alone would leave it out.
std::unique_ptr<ImageFolder> open_pictures(const std::string& path, const ImageFolderOptions& options,
                                           const Common& common);

/// Sets how a folder's pictures are decoded; nothing for texts.
void set_decoding(Dataset& data, bool reduced, const Model& model);

/// Examples without labels for this model: picture files and folders of them, or files and folders of texts.
std::unique_ptr<Dataset> open_unlabelled(const std::vector<std::string>& paths, const DomainFlags& flags,
                                         const std::string& on_bad_image, bool reduced_decoding, const Model& model);

}  // namespace graft::cli
