/// What the library throws. Every failure leaves the library as a graft::Error: a code a program can branch on, and a
/// message that says what was expected and what was found. Nothing else is thrown, printed, or sent to a signal
/// handler. Thread-safety: values; safe everywhere.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>

#include <graft/export.h>

namespace graft {

/// What went wrong, for a program to branch on.
enum class ErrorCode {
  kFormat,       ///< the bytes are not what they should be: damaged, truncated, another or an unsupported file type
  kIo,           ///< the operating system refused: missing, unreadable, full disk; the message carries errno's text
  kLimit,        ///< well-formed, but larger than a limit that protects the program
  kMismatch,     ///< two things that must fit do not: model and task, labels and outputs, folder and data set
  kConfig,       ///< an argument or option is out of range, unknown or contradictory; the caller can mend it
  kNumeric,      ///< not-a-number or infinity where finite values are needed
  kCancelled,    ///< a CancellationScope (graft/cancellation.h) ended the call: stopped, or past its deadline
  kOutOfMemory,  ///< an allocation failed; the object that reported it can still be used with a smaller request
  kInternal,     ///< a defect of the library itself; please report it
};

/// The code's name as the command line prints it: "format", "io", "limit", "mismatch", "config", "numeric",
/// "cancelled", "out_of_memory", "internal".
GRAFT_EXPORT std::string_view to_string(ErrorCode code) noexcept;

/// The only type that leaves the library.
class GRAFT_EXPORT Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message);  ///< `message` is for what()
  ~Error() override;
  Error(const Error&) = default;
  Error& operator=(const Error&) = default;

  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

/// Receives one-line warnings (no newline at the end). The library never prints; without a callback warnings are
/// dropped.
using WarningCallback = std::function<void(std::string_view)>;

/// Where warnings of the libraries below go while they work for this one: "LibTorch: ...", and what libjpeg and libpng
/// say of a picture that they can read all the same. Process-wide; may be set at any time from any thread, an empty
/// function unsets it. It is called in the thread that the warning is of, so that several may call it at once; what it
/// throws is dropped. (Graft's own warnings go to `on_warning` of the options.)
GRAFT_EXPORT void set_library_warnings(WarningCallback callback);

}  // namespace graft
