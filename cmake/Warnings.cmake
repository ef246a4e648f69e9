# Two interface targets: conv3d_warnings (strict, errors only when asked) and conv3d_baseline (what every ordinary file is
# compiled with: the oldest x86-64, no fast-math, no contraction, so that results do not depend on the compiler's mood).
add_library(conv3d_warnings INTERFACE)
add_library(conv3d_baseline INTERFACE)

if(MSVC)
  target_compile_options(conv3d_warnings INTERFACE /W4 $<$<BOOL:${CONV3D_WARNINGS_AS_ERRORS}>:/WX>)
  target_compile_options(conv3d_baseline INTERFACE /fp:precise /utf-8 /EHsc)
  target_compile_definitions(conv3d_baseline INTERFACE NOMINMAX _CRT_SECURE_NO_WARNINGS)
else()
  target_compile_options(
    conv3d_warnings
    INTERFACE
      -Wall
      -Wextra
      -Wpedantic
      -Wshadow
      -Wnon-virtual-dtor
      -Wcast-align
      -Woverloaded-virtual
      -Wnull-dereference
      -Wundef
      $<$<BOOL:${CONV3D_WARNINGS_AS_ERRORS}>:-Werror>
  )
  target_compile_options(conv3d_baseline INTERFACE -ffp-contract=off -fno-fast-math)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    target_compile_options(conv3d_baseline INTERFACE -march=x86-64)
  endif()
endif()

if(CONV3D_SANITIZE)
  target_compile_options(
    conv3d_baseline
    INTERFACE -fsanitize=${CONV3D_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all
  )
  target_link_options(conv3d_baseline INTERFACE -fsanitize=${CONV3D_SANITIZE})
endif()
