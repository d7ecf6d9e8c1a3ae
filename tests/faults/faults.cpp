#include "faults/faults.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <unwind.h>

extern "C" const char __executable_start, __ehdr_start, etext;  // the linker's

namespace graft::testing {

namespace {

// Plain data: read by allocations from the first to the last of the program.
struct State {
  bool armed;
  Fault fault;
  long calls;
  const char* hit;
};
constinit thread_local State state{};

/// Counts a call. Whether it is to be hit.
bool is_hit(Resource resource, const char* name) {
  if (!state.armed || state.fault.resource != resource) return false;
  const long number = state.calls++;
  if (number < state.fault.at || (number > state.fault.at && !state.fault.from_then_on)) return false;
  if (!state.hit) state.hit = name;
  return true;
}

/// A system call that has nothing to be done by halves.
template <class Result, class Call>
Result system_call(const char* name, int error, Result failed, const Call& call) {
  if (!is_hit(Resource::kSystem, name) || state.fault.effect == Effect::kShort) return call();
  if (state.fault.effect != Effect::kFail) ::raise(SIGKILL);
  errno = error;
  return failed;
}

/// One that writes `size` bytes: call(n) writes the first n.
template <class Call>
ssize_t writing_call(const char* name, std::size_t size, const Call& call) {
  if (!is_hit(Resource::kSystem, name)) return call(size);
  switch (state.fault.effect) {
    case Effect::kFail:
      errno = ENOSPC;
      return -1;
    case Effect::kShort:
      return call(std::max<std::size_t>(size / 2, 1));
    case Effect::kTear:
      (void)!call(size / 2);
      [[fallthrough]];
    case Effect::kKill:
      ::raise(SIGKILL);
  }
  return -1;
}

struct Range {
  std::uintptr_t begin, end;
  bool contains(std::uintptr_t address) const { return begin <= address && address < end; }
};

/// Where a library's code is.
Range code_of(const char* library) {
  std::pair<const char*, Range> wanted{library, {}};
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* data) {
        auto& [name, range] = *static_cast<std::pair<const char*, Range>*>(data);
        if (!std::strstr(info->dlpi_name, name)) return 0;
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& header = info->dlpi_phdr[i];
          if (header.p_type == PT_LOAD && (header.p_flags & PF_X))
            range = {info->dlpi_addr + header.p_vaddr, info->dlpi_addr + header.p_vaddr + header.p_memsz};
        }
        return 1;
      },
      &wanted);
  return wanted.second;
}

/// nlohmann's JSON allocates in its destructors, and ends the process where it cannot (json.hpp,
/// json_value::destroy()): such allocations are not made to fail. Where that code is in this program, from its symbols.
const std::vector<Range>& json_destructors() {
  static const std::vector<Range> found = [] {
    std::vector<Range> ranges;
    std::ifstream file("/proc/self/exe", std::ios::binary);
    const std::string content{std::istreambuf_iterator<char>(file), {}};
    const auto* const header = reinterpret_cast<const ElfW(Ehdr)*>(content.data());
    const auto* const sections = reinterpret_cast<const ElfW(Shdr)*>(content.data() + header->e_shoff);
    const auto base = reinterpret_cast<std::uintptr_t>(&__ehdr_start);
    for (int i = 0; i < header->e_shnum; ++i) {
      if (sections[i].sh_type != SHT_SYMTAB) continue;
      const char* const names = content.data() + sections[sections[i].sh_link].sh_offset;
      const auto* const symbols = reinterpret_cast<const ElfW(Sym)*>(content.data() + sections[i].sh_offset);
      for (std::size_t s = 0; s < sections[i].sh_size / sizeof *symbols; ++s)
        if (std::strstr(names + symbols[s].st_name, "json_value7destroy"))
          ranges.push_back({base + symbols[s].st_value, base + symbols[s].st_value + symbols[s].st_size});
    }
    return ranges;
  }();
  return found;
}

/// Whether an allocation's caller is code of this program, or of libstdc++ called by it.
bool asked_by_graft(const void* caller) {
  static const Range program{reinterpret_cast<std::uintptr_t>(&__executable_start),
                             reinterpret_cast<std::uintptr_t>(&etext)};
  static const Range library = code_of("libstdc++.so");
  struct Walk {
    std::uintptr_t from;
    int frames = 0;  ///< behind libstdc++'s
    bool begun = false, ours = false;
  } walk{reinterpret_cast<std::uintptr_t>(caller)};
  _Unwind_Backtrace(
      [](_Unwind_Context* context, void* data) {
        auto& found = *static_cast<Walk*>(data);
        const auto address = static_cast<std::uintptr_t>(_Unwind_GetIP(context));
        found.begun = found.begun || address == found.from;
        if (!found.begun || library.contains(address)) return _URC_NO_REASON;
        // LibTorch may call its own inline functions in this program's copy, also from that destructor of its writer.
        if (found.frames == 0 || (found.frames == 1 && state.fault.from_then_on))
          found.ours = program.contains(address);
        ++found.frames;
        for (const auto& range : json_destructors()) found.ours = found.ours && !range.contains(address);
        return found.ours && found.frames < 4 ? _URC_NO_REASON : _URC_END_OF_STACK;
      },
      &walk);
  return walk.ours;
}

/// LibTorch asks for tensors' memory from here. It needs some in a destructor when its writer of archives has failed,
/// and ends the process where there is none: so not where everything fails.
bool asked_for_a_tensor(const void* caller) {
  if (state.fault.from_then_on) return false;
  static const Range library = code_of("libc10.so");
  return library.contains(reinterpret_cast<std::uintptr_t>(caller));
}

/// Nothing that counts here may count itself: unwinding may allocate.
bool allocation_is_hit(const char* name, bool (*counts)(const void*), const void* caller) {
  if (!state.armed || state.fault.resource != Resource::kMemory) return false;
  state.armed = false;
  const bool counted = counts(caller);
  state.armed = true;
  return counted && is_hit(Resource::kMemory, name);
}

}  // namespace

Armed::Armed(const Fault& fault) { state = {.armed = true, .fault = fault, .calls = 0, .hit = nullptr}; }
Armed::~Armed() { state.armed = false; }
bool Armed::hit() const { return state.hit != nullptr; }
std::string Armed::call() const {
  const bool armed = std::exchange(state.armed, false);
  std::string name = state.hit ? state.hit : "";
  state.armed = armed;
  return name;
}

}  // namespace graft::testing

using graft::testing::system_call;
using graft::testing::writing_call;

// The errno of each is one that it may have on a disk that is full or broken.
#define GRAFT_VISIBLE extern "C" [[gnu::visibility("default")]]
// The definition behind ours.
#define GRAFT_NEXT(name) static auto* const real = reinterpret_cast<decltype(&::name)>(::dlsym(RTLD_NEXT, #name))

namespace {
mode_t mode_of(int flags, va_list arguments) {
  return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, mode_t) : mode_t{};
}
}  // namespace

#define GRAFT_OPEN(name)                                                                                       \
  GRAFT_VISIBLE int name(const char* path, int flags, ...) {                                                   \
    GRAFT_NEXT(name);                                                                                          \
    va_list arguments;                                                                                         \
    va_start(arguments, flags);                                                                                \
    const auto mode = mode_of(flags, arguments);                                                               \
    va_end(arguments);                                                                                         \
    return system_call(#name, flags & O_CREAT ? ENOSPC : EMFILE, -1, [&] { return real(path, flags, mode); }); \
  }
GRAFT_OPEN(open)
GRAFT_OPEN(open64)

GRAFT_VISIBLE int openat(int directory, const char* path, int flags, ...) {
  GRAFT_NEXT(openat);
  va_list arguments;
  va_start(arguments, flags);
  const auto mode = mode_of(flags, arguments);
  va_end(arguments);
  return system_call("openat", EMFILE, -1, [&] { return real(directory, path, flags, mode); });
}
GRAFT_VISIBLE int mkstemp(char* pattern) {
  GRAFT_NEXT(mkstemp);
  return system_call("mkstemp", ENOSPC, -1, [&] { return real(pattern); });
}
GRAFT_VISIBLE FILE* fopen64(const char* path, const char* mode) {
  GRAFT_NEXT(fopen64);
  return system_call<FILE*>("fopen64", ENOSPC, nullptr, [&] { return real(path, mode); });
}
GRAFT_VISIBLE DIR* opendir(const char* path) {
  GRAFT_NEXT(opendir);
  return system_call<DIR*>("opendir", EMFILE, nullptr, [&] { return real(path); });
}
GRAFT_VISIBLE DIR* fdopendir(int fd) {
  GRAFT_NEXT(fdopendir);
  return system_call<DIR*>("fdopendir", ENOMEM, nullptr, [&] { return real(fd); });
}
GRAFT_VISIBLE dirent* readdir(DIR* directory) {
  GRAFT_NEXT(readdir);
  return system_call<dirent*>("readdir", EIO, nullptr, [&] { return real(directory); });
}
/// What fails here has closed the file all the same, as Linux does.
GRAFT_VISIBLE int close(int fd) {
  GRAFT_NEXT(close);
  const int closed = system_call("close", EIO, -2, [&] { return real(fd); });
  if (closed != -2) return closed;
  real(fd);
  errno = EIO;
  return -1;
}
GRAFT_VISIBLE ssize_t write(int fd, const void* data, std::size_t size) {
  GRAFT_NEXT(write);
  return writing_call("write", size, [&](std::size_t part) { return real(fd, data, part); });
}
GRAFT_VISIBLE ssize_t writev(int fd, const iovec* parts, int count) {
  GRAFT_NEXT(writev);
  std::size_t size = 0;
  for (int i = 0; i < count; ++i) size += parts[i].iov_len;
  return writing_call("writev", size, [&](std::size_t part) {
    // Fewer bytes of the last ones.
    iovec cut[16];
    int used = 0;
    for (; used < std::min(count, 16) && part > 0; ++used) {
      cut[used] = {parts[used].iov_base, std::min(part, parts[used].iov_len)};
      part -= cut[used].iov_len;
    }
    return real(fd, cut, used);
  });
}
GRAFT_VISIBLE ssize_t pwrite(int fd, const void* data, std::size_t size, off_t offset) {
  GRAFT_NEXT(pwrite);
  return writing_call("pwrite", size, [&](std::size_t part) { return real(fd, data, part, offset); });
}
GRAFT_VISIBLE ssize_t pread(int fd, void* data, std::size_t size, off_t offset) {
  GRAFT_NEXT(pread);
  return system_call<ssize_t>("pread", EIO, -1, [&] { return real(fd, data, size, offset); });
}
GRAFT_VISIBLE int fsync(int fd) {
  GRAFT_NEXT(fsync);
  return system_call("fsync", EIO, -1, [&] { return real(fd); });
}
GRAFT_VISIBLE int rename(const char* from, const char* to) noexcept {
  GRAFT_NEXT(rename);
  return system_call("rename", ENOSPC, -1, [&] { return real(from, to); });
}
GRAFT_VISIBLE int unlink(const char* path) noexcept {
  GRAFT_NEXT(unlink);
  return system_call("unlink", EIO, -1, [&] { return real(path); });
}
GRAFT_VISIBLE int fchmod(int fd, mode_t mode) noexcept {
  GRAFT_NEXT(fchmod);
  return system_call("fchmod", EIO, -1, [&] { return real(fd, mode); });
}
GRAFT_VISIBLE int fstat(int fd, struct stat* status) noexcept {
  GRAFT_NEXT(fstat);
  return system_call("fstat", EIO, -1, [&] { return real(fd, status); });
}
GRAFT_VISIBLE int stat(const char* path, struct stat* status) noexcept {
  GRAFT_NEXT(stat);
  return system_call("stat", EIO, -1, [&] { return real(path, status); });
}
GRAFT_VISIBLE int lstat(const char* path, struct stat* status) noexcept {
  GRAFT_NEXT(lstat);
  return system_call("lstat", EIO, -1, [&] { return real(path, status); });
}
GRAFT_VISIBLE int flock(int fd, int operation) noexcept {
  GRAFT_NEXT(flock);
  return system_call("flock", ENOLCK, -1, [&] { return real(fd, operation); });
}
GRAFT_VISIBLE int dup(int fd) noexcept {
  GRAFT_NEXT(dup);
  return system_call("dup", EMFILE, -1, [&] { return real(fd); });
}
GRAFT_VISIBLE int mkdir(const char* path, mode_t mode) noexcept {
  GRAFT_NEXT(mkdir);
  return system_call("mkdir", ENOSPC, -1, [&] { return real(path, mode); });
}
GRAFT_VISIBLE int futimens(int fd, const timespec* times) noexcept {
  GRAFT_NEXT(futimens);
  return system_call("futimens", EIO, -1, [&] { return real(fd, times); });
}
GRAFT_VISIBLE void* mmap(void* at, std::size_t size, int protection, int flags, int fd, off_t offset) noexcept {
  GRAFT_NEXT(mmap);
  return system_call("mmap", ENOMEM, MAP_FAILED, [&] { return real(at, size, protection, flags, fd, offset); });
}

// --- The heap

using graft::testing::allocation_is_hit;
using graft::testing::asked_by_graft;

[[gnu::visibility("default")]] void* operator new(std::size_t size) {
  if (allocation_is_hit("operator new", asked_by_graft, __builtin_return_address(0))) throw std::bad_alloc();
  if (void* data = std::malloc(std::max<std::size_t>(size, 1))) return data;
  throw std::bad_alloc();
}
[[gnu::visibility("default")]] void operator delete(void* data) noexcept { std::free(data); }
[[gnu::visibility("default")]] void operator delete(void* data, std::size_t) noexcept { std::free(data); }

GRAFT_VISIBLE int posix_memalign(void** data, std::size_t alignment, std::size_t size) noexcept {
  GRAFT_NEXT(posix_memalign);
  if (allocation_is_hit("posix_memalign", graft::testing::asked_for_a_tensor, __builtin_return_address(0)))
    return ENOMEM;
  return real(data, alignment, size);
}
GRAFT_VISIBLE void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  GRAFT_NEXT(aligned_alloc);
  if (allocation_is_hit("aligned_alloc", asked_by_graft, __builtin_return_address(0))) return nullptr;
  return real(alignment, size);
}
