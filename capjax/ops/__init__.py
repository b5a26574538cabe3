"""Operations on arrays: images, convolutions, attention, and forms that suit one platform."""
