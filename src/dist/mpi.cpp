#include <graft/mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <exception>
#include <limits>
#include <new>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <mpi.h>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <graft/error.h>

#include "base/side_stream.h"
#include "base/torch_device.h"
#include "dist/device_sums.h"

namespace graft {

namespace {

/// Of all tensors that are summed together; large enough that a message costs its bytes, small enough that several are
/// under way.
constexpr std::size_t kBucketBytes = std::size_t{4} << 20;
constexpr std::size_t kBucketsUnderWay = 4;
constexpr std::size_t kLargestMessage = std::size_t{1} << 30;
constexpr std::size_t kLargestSum = kBucketBytes;  ///< of one message: MPI keeps a copy, best in the processor's cache

/// As base::translated, which a shared libgraft keeps to itself.
template <class Function>
void translated(std::string_view context, const Function& function) {
  try {
    function();
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc& error) {
    throw Error(ErrorCode::kOutOfMemory, std::string(context) + ": " + error.what());
  } catch (const std::exception& error) {
    throw Error(ErrorCode::kInternal, std::string(context) + ": " + error.what());
  }
}

void check(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Error(ErrorCode::kIo, std::string("MPI: ") + what + ": " + std::string(text, static_cast<std::size_t>(length)));
}

/// MPI's own waiting keeps a core busy, which the others' decoding may need.
void wait(MPI_Request& request, const char* what) {
  using namespace std::chrono_literals;
  const auto start = std::chrono::steady_clock::now();
  for (int done = 0;;) {
    check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), what);
    if (done) return;
    const auto waited = std::chrono::steady_clock::now() - start;
    if (waited < 500us) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(waited < 50ms ? 20us : 500us);
    }
  }
}

/// Memory for what is summed, kept: new pages cost as much as the sum.
class Buffers {
 public:
  /// At least as many numbers.
  at::Tensor take(std::int64_t numbers, at::ScalarType type) {
    const auto fits = [&](const at::Tensor& each) { return each.scalar_type() == type && each.numel() >= numbers; };
    auto best = spare_.end();
    for (auto it = spare_.begin(); it != spare_.end(); ++it)
      if (fits(*it) && (best == spare_.end() || it->numel() < best->numel())) best = it;
    if (best == spare_.end()) return at::empty({numbers}, type);
    auto taken = std::move(*best);
    spare_.erase(best);
    return taken;
  }
  void give_back(at::Tensor buffer) { spare_.push_back(std::move(buffer)); }

 private:
  std::vector<at::Tensor> spare_;
};

/// Which type tensors of this one are summed in.
at::ScalarType summed_as(at::ScalarType type) {
  if (type == at::kDouble) return at::kDouble;
  return at::isIntegralType(type, /*includeBool=*/true) ? at::kLong : at::kFloat;
}

MPI_Datatype mpi_type(at::ScalarType type) {
  return type == at::kDouble ? MPI_DOUBLE : type == at::kLong ? MPI_INT64_T : MPI_FLOAT;
}

class MpiCommunicator final : public Communicator {
 public:
  explicit MpiCommunicator(MPI_Comm of) {
    check(MPI_Comm_dup(of, &comm_), "a communicator");
    check(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "an error handler");
    check(MPI_Comm_rank(comm_, &rank_), "the rank");
    check(MPI_Comm_size(comm_, &size_), "the size");
  }
  ~MpiCommunicator() override { MPI_Comm_free(&comm_); }

  int rank() const noexcept override { return rank_; }
  int size() const noexcept override { return size_; }

  bool sums_on(Device device) override {
    if (!device.is_cuda()) return false;
    translated("connecting GPUs", [&] {
      if (!std::exchange(asked_for_devices_, true)) devices_ = dist::connect_devices(*this, base::to_torch(device));
    });
    return devices_ != nullptr;
  }

  void sum(const std::vector<at::Tensor>& tensors) override {
    if (run_on_devices(tensors)) return start_sum(tensors)->wait();
    translated("summing over processes", [&] {
      const at::NoGradGuard no_grad;
      std::deque<Bucket> under_way;
      for_each_bucket(tensors, [&](std::vector<at::Tensor> of_type, at::ScalarType type) {
        if (under_way.size() == kBucketsUnderWay) finish(under_way);
        under_way.emplace_back(std::move(of_type), type, comm_, buffers_);
      });
      while (!under_way.empty()) finish(under_way);
    });
  }

  std::unique_ptr<Pending> start_sum(const std::vector<at::Tensor>& tensors) override {
    std::unique_ptr<Started> started;
    translated("summing over processes", [&] {
      const at::NoGradGuard no_grad;
      started = std::make_unique<Started>();
      const bool there = run_on_devices(tensors);
      for_each_bucket(tensors, [&](std::vector<at::Tensor> of_type, at::ScalarType type) {
        if (there) {
          started->on_device.emplace_back(std::move(of_type), type, *devices_);
        } else {
          started->buckets.emplace_back(std::move(of_type), type, comm_, buffers_);
        }
      });
    });
    return started;
  }

  void broadcast(const std::vector<at::Tensor>& tensors) override {
    translated("broadcasting", [&] {
      const at::NoGradGuard no_grad;
      for (const auto& tensor : tensors) {
        auto here = tensor.to(at::kCPU).contiguous();
        if (here.is_alias_of(tensor)) {
          broadcast(here.mutable_data_ptr(), here.nbytes());
          tensor.unsafeGetTensorImpl()->bump_version();
        } else {
          broadcast(here.mutable_data_ptr(), here.nbytes());
          tensor.copy_(here);
        }
      }
    });
  }

  std::string broadcast(const std::string& text) override {
    std::uint64_t bytes = text.size();
    broadcast(&bytes, sizeof bytes);
    std::string result = rank_ == 0 ? text : std::string(bytes, '\0');
    broadcast(result.data(), result.size());
    return result;
  }

  std::vector<std::string> all_gather(const std::string& text) override {
    const auto count = static_cast<std::size_t>(size_);
    const auto mine = static_cast<std::int64_t>(text.size());
    std::vector<std::int64_t> bytes(count);
    MPI_Request request = MPI_REQUEST_NULL;
    check(MPI_Iallgather(&mine, 1, MPI_INT64_T, bytes.data(), 1, MPI_INT64_T, comm_, &request), "gathering sizes");
    wait(request, "gathering sizes");
    std::vector<int> counts, places;
    std::int64_t sum = 0;
    for (const auto size : bytes) {
      counts.push_back(static_cast<int>(size));
      places.push_back(static_cast<int>(sum));
      sum += size;
      if (sum > std::numeric_limits<int>::max())
        throw Error(ErrorCode::kLimit, "MPI: expected less than 2 GiB to gather, found more");
    }
    std::string all(static_cast<std::size_t>(sum), '\0');
    check(MPI_Iallgatherv(text.data(), counts[static_cast<std::size_t>(rank_)], MPI_BYTE, all.data(), counts.data(),
                          places.data(), MPI_BYTE, comm_, &request),
          "gathering");
    wait(request, "gathering");
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < count; ++i)
      texts.push_back(all.substr(static_cast<std::size_t>(places[i]), static_cast<std::size_t>(counts[i])));
    return texts;
  }

  [[noreturn]] void abort(int status) override {
    MPI_Abort(comm_, status);
    std::_Exit(status);
  }

 private:
  bool run_on_devices(const std::vector<at::Tensor>& tensors) const {
    return devices_ && !tensors.empty() && tensors.front().is_cuda();
  }

  static std::int64_t numel_of(const std::vector<at::Tensor>& tensors) {
    std::int64_t sum = 0;
    for (const auto& tensor : tensors) sum += tensor.numel();
    return sum;
  }
  /// Views of a buffer, as large as the tensors, one after the other.
  static std::vector<at::Tensor> parts_of(const at::Tensor& buffer, const std::vector<at::Tensor>& tensors) {
    std::vector<at::Tensor> parts;
    std::int64_t first = 0;
    for (const auto& tensor : tensors) {
      parts.push_back(buffer.narrow(0, first, tensor.numel()).view(tensor.sizes()));
      first += tensor.numel();
    }
    return parts;
  }

  /// Tensors of a type that are summed together, from its making on.
  class Bucket {
   public:
    Bucket(std::vector<at::Tensor> tensors, at::ScalarType type, MPI_Comm comm, Buffers& buffers)
        : tensors_(std::move(tensors)), buffers_(buffers), buffer_(buffers.take(numel_of(tensors_), type)) {
      at::_foreach_copy_(parts_of(buffer_, tensors_), tensors_);
      auto* data = static_cast<std::byte*>(buffer_.mutable_data_ptr());
      const auto size = at::elementSize(type), at_once = kLargestSum / size;
      for (std::size_t left = static_cast<std::size_t>(numel_of(tensors_)); left > 0;) {
        const auto count = std::min(left, at_once);
        check(MPI_Iallreduce(MPI_IN_PLACE, data, static_cast<int>(count), mpi_type(type), MPI_SUM, comm,
                             &requests_.emplace_back()),
              "a sum");
        data += count * size;
        left -= count;
      }
    }
    Bucket(const Bucket&) = delete;
    Bucket& operator=(const Bucket&) = delete;
    ~Bucket() {
      try {  // MPI writes to the buffer until then
        complete();
        buffers_.give_back(std::move(buffer_));
      } catch (const std::exception&) {
        // Nobody asks for the sum.
      }
    }

    void advance() {
      int done = 0;
      check(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE), "a sum");
    }
    void complete() {
      for (auto& request : requests_) wait(request, "a sum");
    }
    /// Once complete.
    void hand_out() const { at::_foreach_copy_(tensors_, parts_of(buffer_, tensors_)); }

   private:
    std::vector<at::Tensor> tensors_;
    Buffers& buffers_;
    at::Tensor buffer_;
    std::vector<MPI_Request> requests_;
  };

  /// The same on a CUDA device.
  class DeviceBucket {
   public:
    DeviceBucket(std::vector<at::Tensor> tensors, at::ScalarType type, dist::DeviceSums& devices)
        : tensors_(std::move(tensors)), buffer_(joined(tensors_, type)), there_(devices.start(buffer_)) {}

    /// The device waits, not the caller.
    void hand_out() const {
      there_.block(base::current_stream(buffer_.device()));
      at::_foreach_copy_(tensors_, parts_of(buffer_, tensors_));
    }

   private:
    static at::Tensor joined(const std::vector<at::Tensor>& tensors, at::ScalarType type) {
      auto buffer = at::empty({numel_of(tensors)}, tensors.front().options().dtype(type));
      at::_foreach_copy_(parts_of(buffer, tensors), tensors);
      return buffer;
    }

    std::vector<at::Tensor> tensors_;
    at::Tensor buffer_;
    c10::Event there_;
  };

  class Started final : public Pending {
   public:
    void advance() override {
      translated("summing over processes", [&] {
        for (auto& bucket : buckets) bucket.advance();
      });
    }
    void wait() override {
      translated("summing over processes", [&] {
        const at::NoGradGuard no_grad;
        while (!buckets.empty()) finish(buckets);
        for (; !on_device.empty(); on_device.pop_front()) on_device.front().hand_out();
      });
    }
    std::deque<Bucket> buckets;
    std::deque<DeviceBucket> on_device;
  };

  template <class Function>
  static void for_each_bucket(const std::vector<at::Tensor>& tensors, const Function& function) {
    for (const auto type : {at::kFloat, at::kDouble, at::kLong}) {
      std::vector<at::Tensor> of_type;
      std::size_t bytes = 0;
      const auto hand_on = [&] {
        if (!of_type.empty()) function(std::exchange(of_type, {}), type);
        bytes = 0;
      };
      for (const auto& tensor : tensors) {
        if (summed_as(tensor.scalar_type()) != type || tensor.numel() == 0) continue;
        of_type.push_back(tensor);
        bytes += static_cast<std::size_t>(tensor.numel()) * at::elementSize(type);
        if (bytes >= kBucketBytes) hand_on();
      }
      hand_on();
    }
  }

  static void finish(std::deque<Bucket>& under_way) {
    under_way.front().complete();
    under_way.front().hand_out();
    under_way.pop_front();
  }

  void broadcast(void* data, std::size_t bytes) {
    auto* at = static_cast<std::byte*>(data);
    while (bytes > 0) {
      const auto count = std::min(bytes, kLargestMessage);
      MPI_Request request = MPI_REQUEST_NULL;
      check(MPI_Ibcast(at, static_cast<int>(count), MPI_BYTE, 0, comm_, &request), "a broadcast");
      wait(request, "a broadcast");
      at += count;
      bytes -= count;
    }
  }

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1;
  Buffers buffers_;
  bool asked_for_devices_ = false;
  std::unique_ptr<dist::DeviceSums> devices_;
};

bool initialize() {
  int initialized = 0;
  check(MPI_Initialized(&initialized), "its state");
  if (initialized) return false;
  int provided = 0;
  check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "initialising");
  return true;
}

}  // namespace

MpiSession::MpiSession() : finalize_(initialize()) {
  translated("MPI", [&] { world_ = std::make_unique<MpiCommunicator>(MPI_COMM_WORLD); });
}

MpiSession::~MpiSession() {
  world_.reset();
  if (finalize_) MPI_Finalize();
}

}  // namespace graft
