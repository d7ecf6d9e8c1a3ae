/// What commands write, and that it is nothing that they read or write otherwise.
#pragma once

#include <filesystem>
#include <string>

#include <CLI/CLI.hpp>

namespace graft::cli {

/// For an option that names a page: .html or .htm.
CLI::Validator page_name();
/// For one that names a picture to be written: .png.
CLI::Validator png_name();
/// Throws Error kConfig if `--out`, which is to be a folder's name, has a file's ending and is no folder that is there;
/// `otherwise` is what else is possible, as " or a file that ends in .npy".
void check_folder_name(const std::string& out, const std::string& otherwise = "");

/// Throws Error kConfig if a file that the command is to write is another file or folder that it was given.
void check_outputs(const CLI::App& command);
/// The same of one file, which `option` has written.
void check_output(const CLI::App& command, const std::string& option, const std::filesystem::path& file);

}  // namespace graft::cli
