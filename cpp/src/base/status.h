// The error type of the core and the status codes that cross the C ABI.
#pragma once

#include <stdexcept>
#include <string>

namespace conv3d {

// Values equal conv3d_status in conv3d/conv3d.h.
enum class Status : int {
  kOk = 0,
  kInvalidArgument = 1,  // a value the caller gave is not accepted
  kOutOfMemory = 2,      // a size is representable but cannot be had
  kUnsupported = 3,      // a forced ISA or algorithm cannot serve this problem
  kInternal = 4,         // a broken invariant of our own
};

// The one exception of the core. The message names the argument, what was given and
// what is accepted.
class Error : public std::runtime_error {
 public:
  Error(Status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  Status status() const { return status_; }

 private:
  Status status_;
};

}  // namespace conv3d
