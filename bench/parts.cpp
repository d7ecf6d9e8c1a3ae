// What classification is made of, each part alone: decoding and preprocessing on one thread, and the network called
// directly through LibTorch in batches, laid out as [N, C, H, W] and channels last. Prints seconds as JSON. Driven by
// the scripts beside it.
//
//   graft_bench_parts MODEL FOLDER [THREADS [BATCH [no-network]]]      THREADS: of the network, 0 is LibTorch's own
//   choice
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <torch/script.h>

#include <graft/graft.h>

namespace {

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

double network_seconds(const std::string& model_file, const std::vector<at::Tensor>& batches, at::MemoryFormat layout) {
  auto network = torch::jit::load(model_file);
  network.eval();
  const c10::InferenceMode no_gradients;
  const Stopwatch watch;
  for (const auto& batch : batches) network.forward({batch.contiguous(layout)});
  return watch.seconds();
}

void run(const std::string& model_file, const std::string& folder, int threads, std::size_t batch_size, bool network) {
  if (threads > 0) at::set_num_threads(threads);
  const auto files = graft::list_images({folder});
  const auto model = graft::Model::load(model_file);

  const Stopwatch decoding;
  std::vector<graft::Image> images;
  for (const auto& file : files) images.push_back(graft::Image::read(file));
  const double decode_s = decoding.seconds();

  const int own_threads = at::get_num_threads();
  at::set_num_threads(1);
  const Stopwatch preprocessing;
  std::vector<at::Tensor> batches;
  for (std::size_t i = 0; i < images.size(); i += batch_size)
    batches.push_back(model.preprocess(std::span(images).subspan(i, std::min(batch_size, images.size() - i))));
  const double preprocess_s = preprocessing.seconds();
  at::set_num_threads(own_threads);

  double network_s = 0, channels_last_s = 0;
  if (network) {
    network_s = network_seconds(model_file, batches, at::MemoryFormat::Contiguous);
    channels_last_s = network_seconds(model_file, batches, at::MemoryFormat::ChannelsLast);
  }
  std::printf(
      "{\"pictures\": %zu, \"decode_s\": %.4f, \"preprocess_s\": %.4f, \"network_s\": %.4f, "
      "\"network_channels_last_s\": %.4f}\n",
      files.size(), decode_s, preprocess_s, network_s, channels_last_s);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: graft_bench_parts MODEL FOLDER [THREADS [BATCH [no-network]]]\n");
    return 2;
  }
  try {
    run(argv[1], argv[2], argc > 3 ? std::stoi(argv[3]) : 0, argc > 4 ? std::stoul(argv[4]) : 32, argc <= 5);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "graft_bench_parts: %s\n", error.what());
    return 1;
  }
}
