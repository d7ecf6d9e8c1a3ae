#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "cli/common.h"
#include "cli/json.h"
#include "cli/outputs.h"

namespace graft::cli {

namespace {

struct Options {
  std::vector<std::string> files;
  std::string out;
};

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const int reason = file ? EISDIR : errno;
  if (!file || std::filesystem::is_directory(path))
    throw Error(ErrorCode::kIo, path + ": cannot be read: " + std::strerror(reason));
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The files' names without folder and ending; where two are the same, the paths.
std::vector<ReportDocument> read_all(const std::vector<std::string>& files) {
  std::vector<ReportDocument> documents;
  std::set<std::string> names;
  for (const auto& file : files) {
    documents.push_back({std::filesystem::path(file).stem().string(), read(file)});
    names.insert(documents.back().name);
  }
  if (names.size() < files.size())
    for (std::size_t i = 0; i < files.size(); ++i) documents[i].name = files[i];
  return documents;
}

void run(const Options& o, const Common& common) {
  check_writable(o.out);
  const auto documents = read_all(o.files);
  write_atomically(o.out, to_html(documents));
  if (common.json)
    print_json({{"out", o.out}, {"runs", documents.size()}});
  else
    print("wrote " + o.out +
          (documents.size() == 1 ? "\n" : ": a comparison of " + std::to_string(documents.size()) + " runs\n"));
}

}  // namespace

Command add_report(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("RUN.json", o->files, "what --report FILE.html wrote beside its page; several are compared")
      ->required()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--out", o->out, ".html file")->required()->check(page_name());
  return [o](const Common& common) { run(*o, common); };
}

}  // namespace graft::cli
