#include "cli/bulk.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <numeric>
#include <optional>
#include <system_error>

#include <torch/headeronly/version.h>

#include "cli/json.h"
#include "cli/numbers.h"
#include "cli/processes.h"

namespace graft::cli {

namespace fs = std::filesystem;

namespace {

constexpr const char* kManifest = "manifest.json";
/// What reads a folder of Parquet files passes over names that begin so.
constexpr const char* kHiddenManifest = "_manifest.json";
constexpr const char* kParquet = "parquet";
constexpr int kFormat = 1;

/// FNV-1a: tells texts apart that differ by accident.
class Hash {
 public:
  Hash& update(std::string_view text) {
    for (const char c : text) hash_ = (hash_ ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return *this;
  }
  std::string hex() const {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash_));
    return text;
  }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325;
};

/// By their names alone, for pictures: reading them all would take as long as answering.
std::string hash_of(const Dataset& data, bool texts) {
  Hash hash;
  for (std::size_t i = 0; i < data.size(); ++i) {
    hash.update(data.name(i)).update("\n");
    if (texts) hash.update(data.text(i)).update("\n");
  }
  return hash.hex();
}

/// The folder's parts, by number.
class Parts {
 public:
  Parts(const BulkOptions& options, const Dataset& data, bool texts)
      : folder_(options.folder),
        ending_("." + options.format),
        manifest_(folder_ / (options.format == kParquet ? kHiddenManifest : kManifest)),
        size_((options.per_part + options.batch - 1) / options.batch * options.batch),
        examples_(data.size()),
        about_(options.about) {
    about_[texts ? "texts" : "pictures"] = std::to_string(examples_) + " " + hash_of(data, texts);
    about_["examples of a part"] = std::to_string(size_);
    about_["batch"] = std::to_string(options.batch);
    about_["format"] = options.format;
  }

  std::size_t count() const { return (examples_ + size() - 1) / size(); }
  std::size_t size() const { return static_cast<std::size_t>(size_); }
  const std::map<std::string, std::string>& about() const { return about_; }
  fs::path path(std::size_t number) const { return folder_ / name(number); }
  std::vector<std::size_t> examples(std::size_t number) const {
    std::vector<std::size_t> all(std::min(size(), examples_ - number * size()));
    std::iota(all.begin(), all.end(), number * size());
    return all;
  }

  /// Makes the folder and its manifest, or sees that it has the right one.
  void open() const {
    std::error_code error;
    fs::create_directories(folder_, error);
    if (error) throw Error(ErrorCode::kIo, folder_.string() + ": cannot be made: " + error.message());
    const auto path = found_manifest();
    if (path.empty()) {
      if (std::any_of(fs::directory_iterator(folder_), fs::directory_iterator(),
                      [&](const auto& entry) { return entry.path().extension() == ending_; }))
        throw Error(ErrorCode::kMismatch, folder_.string() + ": has parts but no " + manifest_.filename().string());
      return write_manifest(false);
    }
    std::ifstream file(path);
    const auto found = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
    if (!found.is_object() || found.value("graft_bulk", 0) != kFormat || !found.contains("about") ||
        !found["about"].is_object())
      throw Error(ErrorCode::kFormat, path.string() + ": no manifest of this version of Graft");
    std::string differences;
    const nlohmann::json here = about_;
    for (const auto& [key, value] : here.items()) {
      const auto had = found["about"].value(key, nlohmann::json());
      if (had != value)
        differences += (differences.empty() ? "" : "; ") + key + ": it had " +
                       (had.is_string() ? had.get<std::string>() : "none") + ", here " + value.get<std::string>();
    }
    if (!differences.empty())
      throw Error(ErrorCode::kMismatch, folder_.string() + ": was begun with others: " + differences);
  }

  void write_manifest(bool complete) const {
    const nlohmann::json manifest{{"graft_bulk", kFormat},
                                  {"complete", complete},
                                  {"parts", count()},
                                  {"first_part", name(0)},
                                  {"about", about_}};
    write_atomically(manifest_, indented(manifest));
  }

  /// By one look at the folder, which may have very many.
  std::vector<std::size_t> missing() const {
    std::vector<bool> there(count());
    for (const auto& entry : fs::directory_iterator(folder_)) {
      const auto file = entry.path().filename().string();
      std::size_t number = 0;
      if (std::sscanf(file.c_str(), "part-%zu", &number) == 1 && number < there.size() && file == name(number))
        there[number] = true;
    }
    std::vector<std::size_t> list;
    for (std::size_t i = 0; i < there.size(); ++i)
      if (!there[i]) list.push_back(i);
    return list;
  }

 private:
  /// Also one of another format, to be compared with; empty where there is none.
  fs::path found_manifest() const {
    for (const auto* const name : {kManifest, kHiddenManifest})
      if (fs::exists(folder_ / name)) return folder_ / name;
    return {};
  }

  std::string name(std::size_t number) const {
    char text[32];
    std::snprintf(text, sizeof text, "part-%07zu", number);
    return text + ending_;
  }

  fs::path folder_;
  std::string ending_;
  fs::path manifest_;
  std::int64_t size_;
  std::size_t examples_;
  std::map<std::string, std::string> about_;
};

/// The numbers of those that this process is to make.
std::vector<std::size_t> share_of(const Parts& parts, Communicator* processes) {
  if (!processes) return parts.missing();
  std::string text;
  if (processes->rank() == 0)
    for (const auto number : parts.missing()) text += std::to_string(number) + " ";
  text = processes->broadcast(text);
  std::vector<std::size_t> mine;
  std::size_t at = 0;
  for (std::size_t i = 0; at < text.size(); ++i) {
    const auto end = text.find(' ', at);
    if (i % static_cast<std::size_t>(processes->size()) == static_cast<std::size_t>(processes->rank()))
      mine.push_back(std::stoul(text.substr(at, end - at)));
    at = end + 1;
  }
  return mine;
}

/// Makes the parts, one after another, from one loader that reads ahead over their borders.
class Maker {
 public:
  Maker(const Parts& parts, const std::vector<std::size_t>& numbers, const Dataset& data, const Answering& answering)
      : parts_(parts), numbers_(numbers), data_(data), answering_(answering) {
    for (const auto number : numbers) {
      const auto all = parts.examples(number);
      indices_.insert(indices_.end(), all.begin(), all.end());
    }
  }

  std::size_t size() const { return indices_.size(); }
  std::size_t unreadable() const { return unreadable_; }

  void make(const Model& model, std::int64_t batch_size, const Common& common, Progress& progress) {
    if (indices_.empty()) return;
    const Subset chosen(data_, indices_);
    DataLoader loader(chosen, model.input(), loader_options(model, batch_size, common));
    while (const auto batch = next(loader)) {
      std::vector<std::size_t> taken;
      for (const auto at : batch->indices) taken.push_back(indices_[at]);
      answering_.take(*batch, taken);
      taken_.insert(taken_.end(), taken.begin(), taken.end());
      const auto done = std::min(loader.next_batch() * static_cast<std::size_t>(batch_size), indices_.size());
      write_until(done, loader);
      progress.update("bulk", static_cast<std::int64_t>(done), static_cast<std::int64_t>(indices_.size()), "");
    }
    write_until(indices_.size(), loader);
    for (const auto& bad : loader.bad_images()) note(common, "left out: " + bad.message);
  }

 private:
  /// A share none of which can be read is no failure: it is written what is the matter with each.
  std::optional<Batch> next(DataLoader& loader) const {
    try {
      return loader.next();
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kMismatch && taken_.empty() && written_ == 0 &&
          loader.next_batch() == loader.batches_per_epoch())
        return std::nullopt;
      throw;
    }
  }

  /// Those whose pictures are all among the first `done` of the share.
  void write_until(std::size_t done, const DataLoader& loader) {
    while (written_ < numbers_.size()) {
      Part part{parts_.path(numbers_[written_]), parts_.examples(numbers_[written_]), {}};
      if (end_ + part.examples.size() > done) return;
      if (taken_.size() < part.examples.size() || taken_[part.examples.size() - 1] != part.examples.back())
        find_unreadable(part, loader);
      answering_.write(part);
      end_ += part.examples.size();
      ++written_;
      std::erase_if(taken_, [&](std::size_t example) { return example <= part.examples.back(); });
    }
  }

  void find_unreadable(Part& part, const DataLoader& loader) {
    std::map<std::string, std::string> messages;
    for (const auto& bad : loader.bad_images()) messages[bad.name] = bad.message;
    for (const auto example : part.examples)
      if (!std::binary_search(taken_.begin(), taken_.end(), example))
        part.unreadable[example] = messages[data_.name(example)];
    unreadable_ += part.unreadable.size();
  }

  const Parts& parts_;
  const std::vector<std::size_t>& numbers_;
  const Dataset& data_;
  const Answering& answering_;
  std::vector<std::size_t> indices_;
  std::vector<std::size_t> taken_;  ///< of parts not written yet, in order
  std::size_t written_ = 0;         ///< parts
  std::size_t end_ = 0;             ///< of what was written, in `indices_`
  std::size_t unreadable_ = 0;
};

/// A number of every process, added up.
double over_all(Communicator* processes, double mine) {
  if (!processes) return mine;
  double sum = 0;
  for (const auto& text : processes->all_gather(std::to_string(mine))) sum += std::stod(text);
  return sum;
}

}  // namespace

void add_bulk_options(CLI::App& app, BulkOptions& options, const std::string& format) {
  options.format = format;
  app.add_option("--shard", options.per_part, "pictures or texts in each file of a folder that --out names")
      ->check(at_least_one())
      ->capture_default_str();
  app.add_option("--format", options.format,
                 "of these files; Parquet is written where Graft was built with Apache Arrow")
      ->check(CLI::IsMember({format, std::string(kParquet)}))
      ->capture_default_str();
}

bool wants_parquet(const BulkOptions& options, bool to_folder) {
  if (options.format != kParquet) return false;
  if (!to_folder) throw Error(ErrorCode::kConfig, "--format parquet: expected a folder for --out, found none");
  return true;
}

std::map<std::string, std::string> about_answers(const Model& model, bool reduced_decoding) {
  const auto info = model.inspect();
  return {{"model", info.sha256},
          {"description", Hash().update(to_json(info)).hex()},  // preprocessing, labels, calibration
          {"reduced decoding", reduced_decoding ? "yes" : "no"},
          {"device", model.device().is_cuda() ? "cuda" : "cpu"},
          {"decoder", std::string(image_decoder())},
          {"Graft", GRAFT_VERSION},
          {"LibTorch", TORCH_VERSION}};
}

nlohmann::json answer_in_bulk(const BulkOptions& options, const Dataset& data, const Model& model,
                              const Answering& answering, const Common& common) {
  auto* processes = common.processes;
  const bool texts = takes_text(model.input());
  const Parts parts(options, data, texts);
  if (processes) processes->require_same(parts.about());
  if (is_first(common)) parts.open();
  if (processes) processes->barrier();
  const auto mine = share_of(parts, processes);
  Maker maker(parts, mine, data, answering);
  Progress progress(common);
  const auto start = std::chrono::steady_clock::now();
  maker.make(model, options.batch, common, progress);
  const auto made = over_all(processes, static_cast<double>(maker.size()));  // and all have come here
  const auto unreadable = over_all(processes, static_cast<double>(maker.unreadable()));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!is_first(common)) return {};
  parts.write_manifest(true);
  char figures[80];
  std::snprintf(figures, sizeof figures, "%.0f %s, %.1f %s/s; ", made, texts ? "texts" : "pictures", made / seconds,
                texts ? "texts" : "images");
  progress.finish(figures + options.folder + " has all " + std::to_string(data.size()) + " in " +
                  std::to_string(parts.count()) + (parts.count() == 1 ? " part" : " parts"));
  return {{"out", options.folder},
          {"examples", data.size()},
          {"parts", parts.count()},
          {"answered_now", static_cast<std::int64_t>(made)},
          {"bad_images_now", static_cast<std::int64_t>(unreadable)},
          {"processes", processes ? processes->size() : 1},
          {"images_per_second", made / seconds}};
}

}  // namespace graft::cli
