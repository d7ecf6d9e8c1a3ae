// What a picture costs on its way to the network, part by part, on one thread; the loader as a whole with several
// threads. Google Benchmark.
//
//   graft_bench_pictures FOLDER [--benchmark_filter=REGEX ...]
//
// One iteration is one picture of FOLDER (the loader's: all of them). "torch" is Preprocessing::torch_mode().
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include <graft/graft.h>

namespace {

namespace fs = std::filesystem;

std::vector<fs::path> files;
const auto kTorch = graft::Preprocessing::torch_mode();

class Files : public graft::Dataset {
 public:
  explicit Files(const graft::DecodeOptions& decode) : decode_(decode) {}
  std::size_t size() const override { return files.size(); }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::int64_t label(std::size_t) const override { return 0; }
  graft::Image image(std::size_t i) const override { return graft::Image::read(files[i], decode_); }
  std::string name(std::size_t i) const override { return files[i].string(); }

 private:
  graft::DecodeOptions decode_;
  std::vector<std::string> classes_{"picture"};
};

/// Calls `work` with one picture after the other.
template <class Pictures, class Work>
void for_each(benchmark::State& state, const Pictures& pictures, const Work& work) {
  std::size_t i = 0;
  for (auto _ : state) work(pictures[i++ % pictures.size()]);
  state.SetItemsProcessed(state.iterations());
}

std::vector<graft::Image> decoded() {
  std::vector<graft::Image> images;
  for (const auto& file : files) images.push_back(graft::Image::read(file));
  return images;
}

void read_file(benchmark::State& state) {
  for_each(state, files, [](const fs::path& file) {
    std::ifstream stream(file, std::ios::binary);
    std::vector<char> bytes(fs::file_size(file));
    stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    benchmark::DoNotOptimize(bytes.data());
  });
}

void decode(benchmark::State& state, const graft::DecodeOptions& options) {
  for_each(state, files, [&](const fs::path& file) { benchmark::DoNotOptimize(graft::Image::read(file, options)); });
}

void resize(benchmark::State& state, graft::Interpolation interpolation) {
  for_each(state, decoded(),
           [&](const graft::Image& image) { benchmark::DoNotOptimize(image.resize_shorter(256, interpolation)); });
}

void augment(benchmark::State& state, const char* text) {
  const auto changes = graft::Augment::parse(text);
  std::uint64_t index = 0;
  for_each(state, decoded(), [&](const graft::Image& image) {
    benchmark::DoNotOptimize(graft::augmented(image, kTorch, changes, 0, 0, index++));
  });
}

/// All pictures once, in batches of 32.
void load(benchmark::State& state, const graft::DecodeOptions& options) {
  const Files dataset(options);
  for (auto _ : state) {
    graft::DataLoader loader(dataset, kTorch, {.threads = static_cast<int>(state.range(0))});
    while (auto batch = loader.next()) benchmark::DoNotOptimize(batch->images);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(files.size()));
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (argc != 2) {
    std::fprintf(stderr, "usage: graft_bench_pictures FOLDER [--benchmark_filter=REGEX ...]\n");
    return 2;
  }
  try {
    files = graft::list_images({argv[1]});
    benchmark::RegisterBenchmark("read_file", read_file);
    const graft::DecodeOptions full, reduced{.reduced = kTorch.reduced_size()};
    benchmark::RegisterBenchmark("decode", decode, full);
    benchmark::RegisterBenchmark("decode/reduced", decode, reduced);
    benchmark::RegisterBenchmark("resize/bilinear", resize, graft::Interpolation::kBilinear);
    benchmark::RegisterBenchmark("resize/bicubic", resize, graft::Interpolation::kBicubic);
    for (const char* text : {"", "shear=0.2,zoom=0.2,hflip", "rotation=20", "channel_shift=20", "crop,hflip", "trivial",
                             "jitter=0.2:0.2:0.2:0.1", "erase"})
      benchmark::RegisterBenchmark((std::string("augment/") + text).c_str(), augment, text);
    benchmark::RegisterBenchmark("load", load, full)->DenseRange(1, 2)->MeasureProcessCPUTime()->UseRealTime();
    benchmark::RegisterBenchmark("load/reduced", load, reduced)
        ->DenseRange(1, 2)
        ->MeasureProcessCPUTime()
        ->UseRealTime();
    benchmark::RunSpecifiedBenchmarks();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "graft_bench_pictures: %s\n", error.what());
    return 1;
  }
}
