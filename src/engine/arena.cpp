// LibTorch has one allocator for the CPU, for the whole process, which a library must leave alone. What it has for each
// thread is the set of dispatch keys. This one is nobody's else ("intended to be a generic testing mode"); while it is
// set on a thread, at::empty and at::empty_strided, which operators call for their results, come here.

#include "engine/arena.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <utility>

#include <ATen/EmptyTensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/util/ScopeExit.h>
#include <sys/mman.h>
#include <torch/library.h>

namespace graft::engine {

namespace {

constexpr auto kMode = c10::DispatchKey::TESTING_ONLY_GenericMode;
constexpr std::size_t kAlignment = 4096;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

thread_local c10::Allocator* allocator_in_use = nullptr;
thread_local bool is_for_scratch = false;

bool is_ours(std::optional<c10::Layout> layout, std::optional<c10::Device> device, std::optional<bool> pinned) {
  return allocator_in_use && c10::layout_or_default(layout) == c10::kStrided &&
         c10::device_or_default(device).is_cpu() && !pinned.value_or(false);
}

const c10::DispatchKeySet kCpu(c10::DispatchKey::CPU);

at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> type, std::optional<c10::Layout> layout,
                 std::optional<c10::Device> device, std::optional<bool> pinned,
                 std::optional<c10::MemoryFormat> format) {
  if (is_ours(layout, device, pinned))
    return at::detail::empty_generic(size, allocator_in_use, kCpu, c10::dtype_or_default(type), format);
  const c10::impl::ExcludeDispatchKeyGuard past_this(kMode);
  return at::empty(size, type, layout, device, pinned, format);
}

at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> type,
                         std::optional<c10::Layout> layout, std::optional<c10::Device> device,
                         std::optional<bool> pinned) {
  if (is_ours(layout, device, pinned))
    return at::detail::empty_strided_generic(size, stride, allocator_in_use, kCpu, c10::dtype_or_default(type));
  const c10::impl::ExcludeDispatchKeyGuard past_this(kMode);
  return at::empty_strided(size, stride, type, layout, device, pinned);
}

/// The kernels above; nothing if somebody else in this process has taken the key.
std::unique_ptr<std::pair<torch::Library, torch::Library>> registered() try {
  using torch::Library;
  auto both = std::make_unique<std::pair<Library, Library>>(Library(Library::IMPL, "_", kMode, __FILE__, __LINE__),
                                                            Library(Library::IMPL, "aten", kMode, __FILE__, __LINE__));
  both->first.fallback(torch::CppFunction::makeFallthrough());
  both->second.impl("empty.memory_format", TORCH_FN(empty));
  both->second.impl("empty_strided", TORCH_FN(empty_strided));
  return both;
} catch (const std::exception&) {
  return nullptr;
}

}  // namespace

class Arena::Blocks final : public c10::Allocator, public std::enable_shared_from_this<Blocks> {
 public:
  ~Blocks() override {
    for (const auto& [size, data] : free_) std::free(data);
  }

  c10::DataPtr allocate(std::size_t bytes) override {
    const c10::Device cpu(c10::kCPU);
    if (bytes == 0) return {nullptr, cpu};
    auto block = std::make_unique<Block>();
    block->owner = shared_from_this();
    block->memory = take(bytes);
    void* data = block->memory.mapped();
    return {data, block.release(), &give_back, cpu};
  }

  void copy_data(void* to, const void* from, std::size_t count) const override { default_copy_data(to, from, count); }

  std::size_t take_largest() {
    const std::lock_guard lock(mutex_);
    return std::exchange(largest_, 0);
  }

 private:
  using BySize = std::multimap<std::size_t, void*>;
  struct Block {
    BySize::node_type memory;  ///< giving it back must not need memory: that happens in destructors
    std::shared_ptr<Blocks> owner;
  };

  BySize::node_type take(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (!is_for_scratch) largest_ = std::max(largest_, bytes);
    if (const auto fits = free_.lower_bound(bytes); fits != free_.end()) return free_.extract(fits);
    const auto unit = bytes < kHugePage ? kAlignment : kHugePage;
    const auto size = (bytes + unit - 1) / unit * unit;
    BySize made;
    void*& data = made.emplace(size, nullptr)->second;
    data = std::aligned_alloc(unit, size);
    if (!data) throw std::bad_alloc();
    if (unit == kHugePage) ::madvise(data, size, MADV_HUGEPAGE);  // fewer page faults; harmless where it is refused
    return made.extract(made.begin());
  }

  static void give_back(void* context) {
    const std::unique_ptr<Block> block(static_cast<Block*>(context));
    const std::lock_guard lock(block->owner->mutex_);
    block->owner->free_.insert(std::move(block->memory));
  }

  std::mutex mutex_;
  BySize free_;
  std::size_t largest_ = 0;
};

Arena::Arena() : blocks_(std::make_shared<Blocks>()) {}
Arena::~Arena() = default;

std::size_t Arena::take_largest() { return blocks_->take_largest(); }

at::Tensor Arena::scratch(std::int64_t bytes) {
  const auto after = c10::make_scope_exit([] { is_for_scratch = false; });
  is_for_scratch = true;
  return at::empty({bytes}, at::kByte);
}

bool Arena::available() {
  static const auto libraries = registered();
  return libraries != nullptr;
}

Arena::Use::Use(Arena& arena)
    : previous_(std::exchange(allocator_in_use, available() ? arena.blocks_.get() : nullptr)),
      was_included_(c10::impl::tls_is_dispatch_key_included(kMode)) {
  if (allocator_in_use) c10::impl::tls_set_dispatch_key_included(kMode, true);
}

Arena::Use::~Use() {
  if (allocator_in_use) c10::impl::tls_set_dispatch_key_included(kMode, was_included_);
  allocator_in_use = previous_;
}

}  // namespace graft::engine
